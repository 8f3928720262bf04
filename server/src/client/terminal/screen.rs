//! The one place that writes to the terminal, beside the line editor itself.
//!
//! The editor draws on its own thread, and what arrives must appear above the line
//! being edited, in order, whatever the moment: while it is edited, between two
//! lines, at the very end. So everything goes through one queue, and what empties
//! it depends on the [`Mode`]. While a line is edited the editor does: it asks for
//! its prompt whenever it draws ([`Screen::take_prompt`]), with the cursor where the
//! prompt begins, and what has arrived goes in front of it. A bell pushed from
//! outside makes it draw. (The editor's own printer, given the text itself, would
//! keep or reorder what comes in the moment a line ends.)

use std::{
    io::{self, Write},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::ExternalPrinter;
use tokio::sync::Notify;

/// What may wait to be drawn: 256 KiB. Beyond it the server is not read from.
const MAX_WAITING: usize = 256 * 1024;

/// What the editor prints when the bell is pushed: nothing to be seen. It wants a
/// newline at the end, so the cursor goes up before.
const BELL: &str = "\x1b[A\n";

/// How long an editor that is about to start may take to.
const EDITOR_START: Duration = Duration::from_secs(1);

/// The terminal, shared by the editor's thread and those who show something.
#[derive(Debug)]
pub(super) struct Screen {
    state: Mutex<State>,
    /// The mode is no longer [`Mode::Starting`].
    started: Condvar,
    /// The queue is empty again.
    drawn: Notify,
    /// Makes the editor draw; none if there is an editor that cannot.
    bell: Option<SyncSender<()>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// What has not been drawn: whole lines.
    waiting: String,
    /// The terminal's settings as they were found.
    found: Termios,
}

/// Who writes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Who has something to show.
    Open,
    /// The editor, which may not have changed the terminal's settings yet.
    Starting,
    /// The editor.
    Editing,
    /// Nobody any more.
    Over,
}

impl Screen {
    /// Takes the terminal over. `printer` is the editor's.
    pub(super) fn new(printer: Option<impl ExternalPrinter + Send + 'static>) -> io::Result<Self> {
        let found = tcgetattr(io::stdin())?;
        // The editor sets and restores this for each line. Between two lines it shall
        // not be undone: what is typed then would be echoed, a Ctrl-D be lost.
        let mut raw = found.clone();
        if printer.is_some() {
            raw.local_flags &= !(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        }
        Ok(Self {
            state: Mutex::new(State { mode: Mode::Open, waiting: String::new(), found }),
            started: Condvar::new(),
            drawn: Notify::new(),
            bell: printer.map(ring),
        })
    }

    /// Shows whole lines, each with its newline. Waits while much has not been drawn.
    pub(super) async fn show(&self, lines: &str) -> io::Result<()> {
        loop {
            let drawn = self.drawn.notified();
            {
                let mut state = self.lock();
                match state.mode {
                    Mode::Open => return write(lines),
                    Mode::Over => return Ok(()),
                    Mode::Starting | Mode::Editing if state.waiting.len() < MAX_WAITING => {
                        state.waiting.push_str(lines);
                        if let Some(bell) = &self.bell {
                            // Full: it is pushed already.
                            bell.try_send(()).ok();
                        }
                        return Ok(());
                    }
                    Mode::Starting | Mode::Editing => {}
                }
            }
            drawn.await;
        }
    }

    /// The editor is about to start; not if this says no.
    pub(super) fn begin_edit(&self) -> bool {
        let mut state = self.lock();
        match (state.mode, &self.bell) {
            (Mode::Over, _) => return false,
            // An editor that cannot draw again is just a reader of lines.
            (_, None) => {}
            _ => state.mode = Mode::Starting,
        }
        true
    }

    /// What the editor is to draw as its prompt: what has arrived, then the prompt.
    pub(super) fn take_prompt(&self, prompt: &str) -> String {
        let mut state = self.lock();
        if state.mode == Mode::Starting {
            state.mode = Mode::Editing;
            self.started.notify_all();
        }
        self.drawn.notify_one();
        std::mem::take(&mut state.waiting) + prompt
    }

    /// The editor has returned.
    pub(super) fn end_edit(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.mode == Mode::Over {
            return Ok(());
        }
        state.mode = Mode::Open;
        self.started.notify_all();
        self.drawn.notify_one();
        write(&std::mem::take(&mut state.waiting))
    }

    /// Gives the terminal its settings back, for what comes after the last line.
    pub(super) fn restore(&self) -> io::Result<()> {
        self.lock().restore()
    }

    /// Ends it, also in the middle of a line: shows what waits and restores.
    pub(super) fn close(&self) -> io::Result<()> {
        let (mut state, _) = self
            .started
            .wait_timeout_while(self.lock(), EDITOR_START, |state| state.mode == Mode::Starting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.mode == Mode::Editing {
            // Off with the prompt and what was typed.
            write("\r\x1b[J")?;
        }
        state.mode = Mode::Over;
        write(&std::mem::take(&mut state.waiting))?;
        state.restore()
    }

    /// A panic elsewhere leaves nothing here half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &self.found)?)
    }
}

/// A bell that makes the editor draw. Its own thread, since the printer may block
/// until the next line is edited.
fn ring(mut printer: impl ExternalPrinter + Send + 'static) -> SyncSender<()> {
    let (bell, rung) = sync_channel(1);
    std::thread::spawn(
        move || {
            while rung.recv().is_ok() && printer.print(BELL.to_owned()).is_ok() {}
        },
    );
    bell
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
