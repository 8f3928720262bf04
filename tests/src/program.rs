//! Third-party programs and packages: found, run, stopped when dropped.
//!
//! `.ci/third-party` installs all of them. A test whose program is missing prints a notice and is
//! skipped; in CI it fails.

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::server::{WAIT_TIMEOUT, wait_until};

/// The timeout of [`run`].
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between SIGINT and SIGKILL for a program that is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The paths of programs; `None`, with a notice on stderr, if one of them is missing.
pub fn programs<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(|name| find(name).ok_or(name));
    if let Some(name) = found.iter().find_map(|found| found.as_ref().err()) {
        skip(&format!("no program {name}"));
        return None;
    }
    Some(found.map(Result::unwrap_or_default))
}

/// The folder of `node_modules`; `None`, with a notice on stderr, if one of the packages is missing.
pub fn packages(names: &[&str]) -> Option<PathBuf> {
    let folder = installed();
    for name in names {
        if !folder.as_ref().is_some_and(|f| f.join("node_modules").join(name).is_dir()) {
            skip(&format!("no npm package {name}"));
            return None;
        }
    }
    folder
}

/// A Python with the packages of `requirements.txt`; `None`, with a notice on stderr, if there is
/// none.
pub fn python() -> Option<PathBuf> {
    let python = installed().map(|folder| folder.join("venv/bin/python"));
    let python = python.filter(|python| python.is_file());
    if python.is_none() {
        skip("no Python with the package websockets");
    }
    python
}

fn skip(missing: &str) {
    skip_because(&format!("{missing}; .ci/third-party installs it"));
}

/// Prints a notice on stderr that a third-party test is skipped; in CI, fails.
pub fn skip_because(reason: &str) {
    assert!(env::var_os("CI").is_none(), "{reason}");
    let notice = format!("\n*** SKIPPED a third-party test: {reason} ***\n");
    // Not eprintln: the test runner captures it.
    io::stderr().write_all(notice.as_bytes()).ok();
}

/// The folder `third-party` of the target folder that contains this test binary.
fn installed() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    program.ancestors().map(|folder| folder.join("third-party")).find(|folder| folder.is_dir())
}

/// The path of a program on `PATH` or in Debian's folders of servers, the newest PostgreSQL first.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|v| v.file_name()?.to_str()?.parse::<u32>().ok());
    folders.extend(versions.iter().rev().map(|version| version.join("bin")));
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A free port of 127.0.0.1, below the kernel's range of ephemeral ports, so that no other socket
/// gets it before the program that it is chosen for.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed) + std::process::id() % 1000 * 12;
        let port = 20_000 + u16::try_from(next % 12_000).expect("it is small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running program and its output.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    output: File,
}

impl Program {
    /// Starts a program.
    pub fn start(mut command: Command) -> Program {
        let output = tempfile::tempfile().expect("a temporary file can be made");
        let copy = || output.try_clone().expect("it is open");
        command.stdin(Stdio::null()).stdout(copy()).stderr(copy());
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let name = command.get_program().to_string_lossy().into_owned();
        Program { name, child, output }
    }

    /// Starts a server and waits until it accepts connections at `port` of 127.0.0.1.
    pub fn serve(command: Command, port: u16) -> Program {
        let mut program = Program::start(command);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = program.child.try_wait().expect("a child can be waited for");
            let waited = start.elapsed();
            if ended.is_some() || waited > WAIT_TIMEOUT {
                panic!("{}: {ended:?} after {waited:?}:\n{}", program.name, program.output());
            }
            thread::sleep(Duration::from_millis(5));
        }
        program
    }

    /// The program's output so far, standard output and standard error together.
    pub fn output(&self) -> String {
        let len = self.output.metadata().expect("it is a file").len();
        let mut bytes = vec![0; usize::try_from(len).expect("it is short")];
        // The file position is shared with the program, which appends there.
        self.output.read_exact_at(&mut bytes, 0).expect("it is a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process ID is small");
        kill(Pid::from_raw(pid), signal).expect("the program runs");
        if signal == Signal::SIGSTOP {
            wait_until_stopped(self.child.id());
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let runs = self.child.try_wait().is_ok_and(|status| status.is_none());
        if let (true, Ok(pid)) = (runs, i32::try_from(self.child.id())) {
            // Servers that get SIGKILL leave shared memory and lock files.
            kill(Pid::from_raw(pid), Signal::SIGINT).ok();
            if exit_status(&mut self.child, STOP_TIMEOUT).is_none() {
                self.child.kill().ok();
                self.child.wait().ok();
            }
        }
        if thread::panicking() {
            eprintln!("{} wrote:\n{}", self.name, self.output());
        }
    }
}

/// Waits for a child to end; `None` if it still runs after `timeout`.
pub fn exit_status(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < timeout {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Sends a signal to a process by the signal's name, such as `TERM`.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    let status = status.expect("kill runs");
    assert!(status.success(), "kill -{name}: {status}");
}

/// Runs a program to its end and returns its output.
pub fn run(command: Command) -> String {
    let mut program = Program::start(command);
    let status = exit_status(&mut program.child, RUN_TIMEOUT);
    assert!(
        status.is_some_and(|status| status.success()),
        "{}: {status:?}:\n{}",
        program.name,
        program.output()
    );
    program.output()
}

/// Waits until all threads of a process are stopped: `kill` returns before they are.
pub(crate) fn wait_until_stopped(process: u32) {
    let is_stopped = |thread: io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread?.path().join("stat"))?;
        // The state follows the name, which is in parentheses.
        io::Result::Ok(status.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")))
    };
    let all_are = || {
        let mut threads = fs::read_dir(format!("/proc/{process}/task"))?;
        threads.try_fold(true, |all, thread| io::Result::Ok(is_stopped(thread)? && all))
    };
    // A thread that ends in between is an error; the next look is without it.
    wait_until(&format!("process {process} is not stopped"), || all_are().unwrap_or(false));
}
