//! A program on a pseudo-terminal, and its output there.

use std::{
    io::{Read, Write},
    num::NonZero,
    os::fd::AsFd,
    process::{Child, ExitStatus},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};

use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};

use crate::server::{WAIT_TIMEOUT, wait_until};

/// The height of the terminals.
pub const ROWS: NonZero<u16> = NonZero::new(24).expect("24 is not 0");

/// The width of the terminals.
pub const COLUMNS: NonZero<u16> = NonZero::new(80).expect("80 is not 0");

/// A program that has a terminal as its standard streams and controlling terminal.
pub struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    screen: Arc<Screen>,
}

#[derive(Default)]
struct Screen {
    shown: Mutex<Shown>,
    grown: Condvar,
}

#[derive(Default)]
struct Shown {
    /// The output with its control sequences.
    raw: String,
    /// The output without control sequences and carriage returns.
    text: String,
    /// The offset in `text` up to which [`Terminal::wait_for`] has searched.
    seen: usize,
    ended: bool,
}

impl Terminal {
    /// Starts `program` on a terminal of [`ROWS`] by [`COLUMNS`].
    pub fn start(program: &str, arguments: &[&str]) -> Terminal {
        let (pty, pts) = open().expect("a terminal can be made");
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).expect("it can be resized");
        // No files can be created in /dev/null: the program stores no history.
        let command = Command::new(program).args(arguments).env("TERM", "xterm");
        let command = command.env("XDG_STATE_HOME", "/dev/null");
        let child = command.spawn(pts).unwrap_or_else(|e| panic!("{program}: {e}"));
        let (pty, screen) = (Arc::new(pty), Arc::new(Screen::default()));
        let (reader, writer) = (pty.clone(), screen.clone());
        std::thread::spawn(move || writer.fill(&reader));
        Terminal { pty, child, screen }
    }

    /// Types `text`; `\r` is the Enter key.
    pub fn type_in(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Types `text` and waits until `printed` is printed, as [`Terminal::wait_for`].
    pub fn exchange(&self, text: &str, printed: &str) {
        self.type_in(text);
        self.wait_for(printed);
    }

    /// Waits until `text` is printed after the text of the previous wait, control sequences
    /// aside; returns the output in between, `text` included. Fails when the program ends first.
    pub fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        let mut shown = self.screen.shown.lock().expect("no holder panics");
        loop {
            let new = &shown.text[shown.seen..];
            if let Some(at) = new.find(text) {
                let new = new[..at + text.len()].to_owned();
                shown.seen += new.len();
                return new;
            }
            let left = WAIT_TIMEOUT.saturating_sub(start.elapsed());
            if shown.ended || left.is_zero() {
                let (before, new) = shown.text.split_at(shown.seen);
                let (before, new) = (before.to_owned(), new.to_owned());
                drop(shown);
                panic!("no {text:?} in {new:?}, after {before:?}");
            }
            shown = self.screen.grown.wait_timeout(shown, left).expect("no holder panics").0;
        }
    }

    /// Waits until the screen shows exactly these lines between its first line and its trailing
    /// blank lines. A line may wrap into several rows.
    pub fn wait_for_lines(&self, lines: &[&str]) {
        let start = Instant::now();
        let mut shown = self.screen.shown.lock().expect("no holder panics");
        loop {
            let seen = seen(&shown.raw);
            if seen.get(1..).is_some_and(|seen| seen == lines) {
                return;
            }
            let left = WAIT_TIMEOUT.saturating_sub(start.elapsed());
            if left.is_zero() {
                drop(shown);
                panic!("{seen:#?} is seen, and not {lines:#?}");
            }
            shown = self.screen.grown.wait_timeout(shown, left).expect("no holder panics").0;
        }
    }

    /// The output so far, control sequences included.
    pub fn raw(&self) -> String {
        self.screen.shown.lock().expect("no holder panics").raw.clone()
    }

    /// Waits until the terminal is in canonical mode (`cooked`), or is not.
    #[track_caller]
    pub fn wait_for_canonical_mode(&self, cooked: bool) {
        let wanted: &[&str] =
            if cooked { &["echo", "icanon", "isig"] } else { &["-echo", "-icanon"] };
        wait_until(&format!("the terminal's settings {wanted:?} are not there"), || {
            wanted.iter().all(|name| self.settings().iter().any(|setting| setting == name))
        });
    }

    /// The terminal's settings as in the output of `stty -a`, where `-` precedes a disabled one.
    pub fn settings(&self) -> Vec<String> {
        let pty = self.pty.as_fd().try_clone_to_owned().expect("it can be shared");
        let output = std::process::Command::new("stty").arg("-a").stdin(pty).output();
        let output = output.expect("stty runs").stdout;
        String::from_utf8_lossy(&output).split([' ', '\n', ';']).map(str::to_owned).collect()
    }

    /// The program's process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program to end; returns its exit status and its output without control
    /// sequences.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let shown = self.screen.shown.lock().expect("no holder panics");
        let waited =
            self.screen.grown.wait_timeout_while(shown, WAIT_TIMEOUT, |shown| !shown.ended);
        let text = {
            let (shown, _) = waited.expect("no holder panics");
            shown.ended.then(|| shown.text.clone())
        };
        let Some(text) = text else { panic!("it does not end; shown: {:?}", self.raw()) };
        (self.child.wait().expect("it can be waited for"), text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Screen {
    /// Reads the output until the program's side of the terminal is closed.
    fn fill(&self, mut pty: &Pty) {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let mut control = Control::No;
        // The end of the output is the error EIO.
        while let Ok(n @ 1..) = pty.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
            let whole = match str::from_utf8(&bytes) {
                Ok(text) => text.len(),
                Err(e) if e.error_len().is_none() => e.valid_up_to(),
                Err(_) => bytes.len(),
            };
            let text: Vec<u8> = bytes.drain(..whole).collect();
            let mut shown = self.shown.lock().expect("no holder panics");
            for c in String::from_utf8_lossy(&text).chars() {
                shown.raw.push(c);
                if !control.takes(c) {
                    shown.text.push(c);
                }
            }
            self.grown.notify_all();
        }
        self.shown.lock().expect("no holder panics").ended = true;
        self.grown.notify_all();
    }
}

/// The screen after `raw`: its lines, without trailing blank ones.
fn seen(raw: &str) -> Vec<String> {
    let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
    parser.process(raw.as_bytes());
    parser.screen().contents().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The state of a filter for control sequences, `ESC [ … letter`, and carriage returns.
enum Control {
    No,
    Escape,
    Sequence,
}

impl Control {
    fn takes(&mut self, c: char) -> bool {
        let (next, taken) = match (&self, c) {
            (Control::No, '\r') => (Control::No, true),
            (Control::No, '\x1b') => (Control::Escape, true),
            (Control::Escape, '[') => (Control::Sequence, true),
            (Control::Sequence, '\x40'..='\x7e') | (Control::Escape, _) => (Control::No, true),
            (Control::Sequence, _) => (Control::Sequence, true),
            (Control::No, _) => (Control::No, false),
        };
        *self = next;
        taken
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("shown", &self.raw()).finish_non_exhaustive()
    }
}
