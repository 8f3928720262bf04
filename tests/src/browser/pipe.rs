//! Chromium and its DevTools pipe: JSON objects, each ended by a zero byte. The browser exits when
//! the pipe is closed.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{program, server::WAIT_TIMEOUT};

/// The program names of the browser, tried in this order unless `CHROMIUM` names one.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const FLAGS: [&str; 13] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--force-color-profile=srgb",
    "about:blank",
];

/// A running Chromium.
#[derive(Debug)]
pub(super) struct Pipe {
    process: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    /// Events that were received and not taken yet.
    events: Vec<Value>,
    last_id: u64,
    _profile: TempDir,
}

/// The browser's program, if there is one.
pub(super) fn program() -> Option<OsString> {
    let named = std::env::var_os("CHROMIUM").filter(|name| !name.is_empty());
    named.or_else(|| NAMES.into_iter().find_map(program::find).map(PathBuf::into_os_string))
}

impl Pipe {
    /// Starts the browser with a new profile.
    pub(super) fn start(program: OsString) -> Pipe {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let mut profile_flag = OsString::from("--user-data-dir=");
        profile_flag.push(profile.path());
        // The browser reads commands from descriptor 3 and writes to 4: the shell moves the pipes there.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >&2"#])
            .arg(program)
            .arg(profile_flag)
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the shell runs");
        let (to_us, from) = channel();
        let output = process.stdout.take().expect("stdout is piped");
        std::thread::spawn(move || read(output, &to_us));
        let to = process.stdin.take();
        Pipe { process, to, from, events: Vec::new(), last_id: 0, _profile: profile }
    }

    /// Runs a command, in a session if one is named; returns its result, or the browser's error.
    pub(super) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method });
        command["params"] = parameters;
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        let to = self.to.as_mut().expect("the pipe is open until this is dropped");
        to.write_all(&bytes).unwrap_or_else(|e| panic!("{method}: the browser is gone: {e}"));
        let start = Instant::now();
        loop {
            let left = WAIT_TIMEOUT.saturating_sub(start.elapsed());
            let mut message = match self.from.recv_timeout(left) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer in {WAIT_TIMEOUT:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser is gone"),
            };
            if message["id"] != id {
                self.events.push(message);
            } else if message["error"].is_null() {
                return Ok(message["result"].take());
            } else {
                return Err(message["error"].to_string());
            }
        }
    }

    /// Waits for an event that `wanted` accepts, among the events not taken yet and new ones, and
    /// takes it.
    pub(super) fn wait_for_event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            if let Some(at) = self.events.iter().position(&wanted) {
                return self.events.remove(at);
            }
            let left = WAIT_TIMEOUT.saturating_sub(start.elapsed());
            let event = self.from.recv_timeout(left);
            self.events.push(event.expect("the browser reports the event in time"));
        }
    }

    /// Forgets the events received so far that `unwanted` accepts.
    pub(super) fn discard(&mut self, unwanted: impl Fn(&Value) -> bool) {
        self.events.extend(self.from.try_iter());
        self.events.retain(|event| !unwanted(event));
    }

    /// Takes all events that were received so far.
    pub(super) fn take_events(&mut self) -> Vec<Value> {
        self.events.extend(self.from.try_iter());
        std::mem::take(&mut self.events)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The browser exits at the end of its input, and cleans up its own processes.
        self.to = None;
        self.process.wait().ok();
    }
}

fn read(output: ChildStdout, to: &Sender<Value>) {
    let messages = BufReader::new(output).split(0).map_while(Result::ok);
    for message in messages {
        let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
        if to.send(message).is_err() {
            return;
        }
    }
}
