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

/// How long the editor may take to notice that it is over.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// The terminal, shared by the editor's thread and those who show something.
#[derive(Debug)]
pub(crate) struct Screen {
    state: Mutex<State>,
    /// The mode is [`Mode::Over`].
    over: Condvar,
    /// The queue is empty again.
    drawn: Notify,
    /// The terminal's settings as they were found. Apart from the rest: it is held by nobody
    /// who writes, so that a signal need not wait for a terminal that takes nothing.
    found: Mutex<Termios>,
    /// Makes the editor draw; none if there is an editor that cannot.
    bell: Option<SyncSender<()>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// What has not been drawn: whole lines.
    waiting: String,
    /// The terminal's settings between two lines.
    between: Termios,
    /// The terminal's settings while a line is edited, once one has been.
    editing: Option<Termios>,
}

/// Who writes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Who has something to show.
    Open,
    /// The editor.
    Editing,
    /// The editor, which is to leave.
    Closing,
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
            state: Mutex::new(State {
                mode: Mode::Open,
                waiting: String::new(),
                between: raw,
                editing: None,
            }),
            found: Mutex::new(found),
            over: Condvar::new(),
            drawn: Notify::new(),
            bell: printer.map(ring),
        })
    }

    /// Shows whole lines, each with its newline. Waits while much has not been drawn.
    pub(crate) async fn show(&self, lines: &str) -> io::Result<()> {
        loop {
            let drawn = self.drawn.notified();
            {
                let mut state = self.lock();
                match state.mode {
                    Mode::Open => return write(lines),
                    Mode::Over => return Ok(()),
                    Mode::Editing | Mode::Closing if state.waiting.len() < MAX_WAITING => {
                        state.waiting.push_str(lines);
                        self.push_bell();
                        return Ok(());
                    }
                    Mode::Editing | Mode::Closing => {}
                }
            }
            drawn.await;
        }
    }

    /// Shows whole lines between two that are edited.
    pub(super) fn note(&self, lines: &str) -> io::Result<()> {
        let state = self.lock();
        if state.mode == Mode::Open { write(lines) } else { Ok(()) }
    }

    /// The editor is about to start; not if this says no.
    pub(super) fn begin_edit(&self) -> bool {
        let mut state = self.lock();
        // An editor that cannot draw again is just a reader of lines.
        if state.mode == Mode::Open && self.bell.is_some() {
            state.mode = Mode::Editing;
        }
        state.mode != Mode::Over
    }

    /// What the editor is to draw as its prompt: what has arrived, then the prompt.
    /// Never returns when it is to leave, since it cannot be told to: its thread is
    /// held here, where it does nothing more to the terminal.
    pub(super) fn take_prompt(&self, prompt: &str) -> String {
        let mut state = self.lock();
        if state.mode == Mode::Closing {
            self.end(&mut state).ok();
        }
        if state.mode == Mode::Over {
            drop(state);
            loop {
                std::thread::park();
            }
        }
        if state.editing.is_none() {
            state.editing = tcgetattr(io::stdin()).ok();
        }
        self.drawn.notify_one();
        std::mem::take(&mut state.waiting) + prompt
    }

    /// The editor has returned.
    pub(super) fn end_edit(&self) -> io::Result<()> {
        let mut state = self.lock();
        match state.mode {
            Mode::Over => Ok(()),
            Mode::Closing => self.end(&mut state),
            Mode::Open | Mode::Editing => {
                state.mode = Mode::Open;
                self.drawn.notify_one();
                write(&std::mem::take(&mut state.waiting))
            }
        }
    }

    /// Gives the terminal its settings back, for what comes after the last line.
    pub(super) fn restore(&self) -> io::Result<()> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &found)?)
    }

    /// Gives the terminal its settings back because the process is stopped or ended by a
    /// signal, whatever others are doing.
    pub(super) fn give_back(&self) {
        // A terminal that is gone needs none.
        self.restore().ok();
    }

    /// Takes the terminal over again when the process goes on after it was stopped: the shell
    /// has given the terminal settings of its own, and written to it.
    pub(super) fn resume(&self) {
        let state = self.lock();
        let settings = match state.mode {
            Mode::Open => Some(&state.between),
            Mode::Editing | Mode::Closing => state.editing.as_ref().or(Some(&state.between)),
            Mode::Over => None,
        };
        if let Some(settings) = settings {
            tcsetattr(io::stdin(), SetArg::TCSANOW, settings).ok();
            self.push_bell();
        }
    }

    /// Ends it, also in the middle of a line: shows what waits and restores.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.mode == Mode::Editing {
            state.mode = Mode::Closing;
            self.push_bell();
            let waited =
                self.over.wait_timeout_while(state, CLOSING_TIME, |s| s.mode != Mode::Over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.mode != Mode::Over { self.end(&mut state) } else { Ok(()) }
    }

    /// The last that is done to the terminal.
    fn end(&self, state: &mut State) -> io::Result<()> {
        state.mode = Mode::Over;
        self.over.notify_all();
        self.drawn.notify_one();
        let written = write(&std::mem::take(&mut state.waiting));
        self.restore()?;
        written
    }

    fn push_bell(&self) {
        if let Some(bell) = &self.bell {
            // Full: it is pushed already.
            bell.try_send(()).ok();
        }
    }

    /// A panic elsewhere leaves nothing here half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
