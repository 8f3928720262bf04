//! An `echogate serve` process on free ports, killed when dropped.

use std::{
    fmt::Debug,
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::{
    http,
    program::{exit_status, signal, wait_until_stopped},
    tls::Authority,
};

/// The timeout of a test's waits for events that normally take milliseconds. Generous, for loaded
/// machines.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `condition` returns true; fails with the text `failure`.
#[track_caller]
pub fn wait_until(failure: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WAIT_TIMEOUT, "{failure}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `wanted` returns true for the result of `ask`; returns the result.
#[track_caller]
pub fn wait_for<T: Debug>(ask: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let found = ask();
        if wanted(&found) {
            return found;
        }
        assert!(start.elapsed() < WAIT_TIMEOUT, "never as wanted: {found:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The prefix of metrics whose series appear only with a value other than 0.
const TARGETS: &str = "echogate_target_";

/// A running server, its standard output and its log.
#[derive(Debug)]
pub struct Server {
    child: Child,
    listening: Vec<(String, String)>,
    printed: Vec<String>,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// The peak of a server's memory.
#[derive(Clone, Copy, Debug)]
pub struct PeakMemory {
    /// All of it, in KiB.
    pub peak: u64,
    /// The pages of its files, such as the program, in KiB.
    of_files: u64,
}

impl Server {
    /// Starts `program serve` with `upper` and HTTP on free ports of 127.0.0.1, and with `arguments`.
    pub fn start(program: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new(program);
        command
            .args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"])
            .args(arguments);
        Self::spawn(command)
    }

    /// As [`Server::start`], with the certificate of `authority`.
    pub fn start_with_tls(program: &str, authority: &Authority, arguments: &[&str]) -> Server {
        let flags = authority.flags();
        let flags = flags.each_ref().map(String::as_str);
        Self::start(program, &[&flags[..], arguments].concat())
    }

    /// Starts a server with a complete command.
    pub fn spawn(command: Command) -> Server {
        let (server, log) = Server::spawn_with_unread_log(command);
        server.read_log(log);
        server
    }

    /// Starts a server whose log is not read before [`Server::read_log`].
    pub fn spawn_with_unread_log(mut command: Command) -> (Server, ChildStderr) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let log = child.stderr.take().expect("stderr is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (mut listening, mut printed) = (Vec::new(), Vec::new());
        let mut ready = false;
        for line in stdout.lines().map_while(Result::ok) {
            printed.push(line.clone());
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("listening"), Some(what), Some(url)) => {
                    listening.push((what.to_owned(), url.to_owned()));
                }
                (Some("forward"), Some(url), _) => {
                    listening.push(("forward".to_owned(), url.to_owned()));
                }
                (Some("ready"), ..) => {
                    ready = true;
                    break;
                }
                _ => {}
            }
        }
        let server = Server { child, listening, printed, log: Arc::default() };
        if !ready {
            let said = BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>();
            panic!("the server did not start: {}", said.join("\n"));
        }
        (server, log)
    }

    /// Reads the log from now on, in a thread.
    pub fn read_log(&self, stderr: ChildStderr) {
        let log = self.log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lines.lock().expect("no holder panics").push(line);
                log.grown.notify_all();
            }
        });
    }

    /// The printed URL of the first listener of `what` (`upper`, `http`).
    pub fn url(&self, what: &str) -> &str {
        self.listening.iter().find(|(name, _)| name == what).map_or_else(
            || panic!("no listener {what:?} in {:?}", self.listening),
            |(_, url)| url.as_str(),
        )
    }

    /// The rest of the first line of standard output that begins with `start`.
    pub fn printed(&self, start: &str) -> Option<String> {
        self.printed.iter().find_map(|line| line.strip_prefix(start)).map(str::to_owned)
    }

    /// The URLs of all listeners of `what`, in order.
    pub fn urls(&self, what: &str) -> impl Iterator<Item = String> {
        self.listening.iter().filter(move |(name, _)| name == what).map(|(_, url)| url.clone())
    }

    /// `HOST:PORT` of the first listener of `what`.
    pub fn address(&self, what: &str) -> &str {
        let url = self.url(what);
        url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/')
    }

    /// The URL of `path` at the first HTTP listener, with the scheme `ws`.
    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address("http"))
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub fn memory(&self, what: &str) -> u64 {
        self.memory_fields([what])[0]
    }

    /// The peak of the server's memory so far.
    pub fn peak(&self) -> PeakMemory {
        let [peak, of_files] = self.memory_fields(["VmHWM", "RssFile"]);
        PeakMemory { peak, of_files }
    }

    /// The growth of the peak since `before`, in KiB, without the pages of the program that have come
    /// into memory since. Pages that have left it do not count as growth.
    pub fn peak_growth(&self, before: PeakMemory) -> u64 {
        let now = self.peak();
        let peak = now.peak.saturating_sub(now.of_files.max(before.of_files));
        peak.saturating_sub(before.peak - before.of_files)
    }

    /// Fields of `/proc/PID/status` in KiB, all at one time.
    fn memory_fields<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the server runs, on Linux");
        names.map(|name| {
            let line = status.lines().find(|line| line.starts_with(name));
            let figure = line.and_then(|line| line.split_whitespace().nth(1));
            figure.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{name}: {status}"))
        })
    }

    /// The connections that `/api/connections` lists.
    pub fn connections(&self) -> Vec<serde_json::Value> {
        let response = http::get(self.address("http"), "/api/connections");
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).expect("JSON: a list")
    }

    /// Waits until `wanted` returns true for the list of `/api/connections`.
    pub fn wait_for_connections(
        &self,
        wanted: impl Fn(&[serde_json::Value]) -> bool,
    ) -> Vec<serde_json::Value> {
        wait_for(|| self.connections(), |connections| wanted(connections))
    }

    /// The value of a metric in `/metrics`; `name` includes the labels.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = http::get(self.address("http"), "/metrics").text();
        let figure = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let is_family = |line: &str| {
            let family = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
            family.is_some_and(|family| family.starts_with(TARGETS) && name.starts_with(family))
        };
        let figure = match figure {
            Some(figure) => figure.parse().ok(),
            None => metrics.lines().any(is_family).then_some(0),
        };
        figure.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// Waits until `wanted` returns true for the value of a metric.
    pub fn wait_for_metric(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        wait_for(|| (name, self.metric(name)), |(_, figure)| wanted(*figure));
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
        if name == "STOP" {
            wait_until_stopped(self.pid());
        }
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        exit_status(&mut self.child, WAIT_TIMEOUT).unwrap_or_else(|| {
            panic!("the server does not end; its log:\n{}", self.log().join("\n"))
        })
    }

    /// Sends SIGTERM and waits for the process to end; returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait().code()
    }

    /// The lines that the server has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().expect("no holder panics").clone()
    }

    /// Waits for the first line of the log that contains all of `parts`.
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        self.wait_for_nth_log(parts, 0)
    }

    /// Waits for a line of the log that contains all of `parts`, after `before` other such lines.
    pub fn wait_for_nth_log(&self, parts: &[&str], before: usize) -> String {
        let start = Instant::now();
        let mut lines = self.log.lines.lock().expect("no holder panics");
        loop {
            let like = |line: &&String| parts.iter().all(|part| line.contains(part));
            if let Some(line) = lines.iter().filter(like).nth(before) {
                return line.clone();
            }
            let left = WAIT_TIMEOUT.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "no line with {parts:?} in:\n{}", lines.join("\n"));
            lines = self.log.grown.wait_timeout(lines, left).expect("no holder panics").0;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
