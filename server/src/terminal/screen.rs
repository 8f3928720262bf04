//! Output to the terminal, ordered with what the line editor draws.
//!
//! The editor draws on a dedicated thread. Output may arrive at any time: while a line is edited,
//! between two lines, and at the end. The output must appear above the edited line, in the order in
//! which it was written. All output therefore goes through one queue, and [`Mode`] says which
//! thread writes the queue to the terminal. While a line is edited, the editor's thread does:
//! whenever the editor draws, the cursor is where the prompt begins, and the editor calls
//! [`Screen::take_prompt`], which returns the queued output followed by the prompt. A redraw
//! request makes the editor draw. The editor's external printer is not used for output, since it
//! may delay or reorder text at the end of a line.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    time::Duration,
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use parking_lot::{Condvar, Mutex};
use rustyline::ExternalPrinter;
use tokio::sync::Notify;

use super::print;

/// The most bytes in the queue; beyond that [`Screen::show`] waits.
const MAX_QUEUED: usize = 256 * 1024;

/// The line that replaces those that [`Screen::show_now`] skips.
const SKIPPED: &str = "* further lines are not shown: the terminal is too slow\n";

/// The text that the external printer prints for a redraw: cursor up and newline, which shows
/// nothing. The printer requires the newline.
const REDRAW: &str = "\x1b[A\n";

/// The time that the editor has to stop at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The terminal, shared by the thread of the editor and the tasks that write output.
#[derive(Debug)]
pub(crate) struct Screen {
    state: Mutex<State>,
    /// Notified when the mode has become [`Mode::Closed`].
    closed: Condvar,
    /// Notified when the queue has been emptied.
    drawn: Notify,
    /// The original terminal settings. They have a lock of their own that is never held during a
    /// write, so that the signal thread does not wait for a blocked terminal.
    original: Mutex<Termios>,
    /// Sends redraw requests; `None` if the editor cannot redraw.
    redraw: Option<SyncSender<()>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// The queue: complete lines.
    queue: String,
    /// The terminal settings between two lines.
    between: Termios,
    /// The terminal settings during editing, once they are known.
    editing: Option<Termios>,
}

/// The thread that writes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The thread of any task with output.
    Open,
    /// The editor's thread.
    Editing,
    /// The editor's thread, which has been asked to stop.
    Closing,
    /// No thread, since the screen is closed.
    Closed,
}

impl Screen {
    /// Changes the terminal settings for editing. `printer` is the external printer of the editor.
    pub(super) fn new(printer: Option<impl ExternalPrinter + Send + 'static>) -> io::Result<Self> {
        let original = tcgetattr(io::stdin())?;
        // The editor changes the settings for each line and restores them. They are the same
        // between two lines, where otherwise typed characters would be echoed, and Ctrl-D lost.
        let mut raw = original.clone();
        if printer.is_some() {
            raw.local_flags &= !(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        }
        Ok(Self {
            state: Mutex::new(State {
                mode: Mode::Open,
                queue: String::new(),
                between: raw,
                editing: None,
            }),
            original: Mutex::new(original),
            closed: Condvar::new(),
            drawn: Notify::new(),
            redraw: printer.map(spawn_redraw),
        })
    }

    /// Writes complete lines, each with its newline. Waits while the queue is full.
    pub(crate) async fn show(&self, lines: &str) -> io::Result<()> {
        loop {
            let drawn = self.drawn.notified();
            {
                let mut state = self.state.lock();
                match state.mode {
                    Mode::Open => return print(lines),
                    Mode::Closed => return Ok(()),
                    Mode::Editing | Mode::Closing if state.queue.len() < MAX_QUEUED => {
                        state.queue.push_str(lines);
                        self.request_redraw();
                        return Ok(());
                    }
                    Mode::Editing | Mode::Closing => {}
                }
            }
            drawn.await;
        }
    }

    /// Writes complete lines without waiting. Returns false if the screen is closed. Lines that
    /// exceed twice [`MAX_QUEUED`] are replaced by one notice.
    pub(crate) fn show_now(&self, lines: &str) -> bool {
        let mut state = self.state.lock();
        match state.mode {
            Mode::Closed => return false,
            // A failure of the terminal is reported by the next write that returns a result.
            Mode::Open => print(lines).unwrap_or_default(),
            Mode::Editing | Mode::Closing => {
                if state.queue.len() < 2 * MAX_QUEUED {
                    state.queue.push_str(lines);
                } else if !state.queue.ends_with(SKIPPED) {
                    state.queue.push_str(SKIPPED);
                }
                self.request_redraw();
            }
        }
        true
    }

    /// Writes complete lines, if no line is being edited.
    pub(super) fn write_between(&self, lines: &str) -> io::Result<()> {
        let state = self.state.lock();
        if state.mode == Mode::Open { print(lines) } else { Ok(()) }
    }

    /// Enters [`Mode::Editing`]. Returns false if the screen is closed.
    pub(super) fn begin_edit(&self) -> bool {
        let mut state = self.state.lock();
        // Without redraws the terminal stays with the tasks that write output.
        if state.mode == Mode::Open && self.redraw.is_some() {
            state.mode = Mode::Editing;
        }
        state.mode != Mode::Closed
    }

    /// The text that the editor draws as its prompt: the queued output, then the prompt. Never
    /// returns after the screen has been closed: the editor cannot be cancelled, so its thread is
    /// parked here, where it does not write to the terminal any more.
    pub(super) fn take_prompt(&self, prompt: &str) -> String {
        let mut state = self.state.lock();
        if state.mode == Mode::Closing {
            self.finish(&mut state).ok();
        }
        if state.mode == Mode::Closed {
            drop(state);
            loop {
                std::thread::park();
            }
        }
        if state.editing.is_none() {
            state.editing = tcgetattr(io::stdin()).ok();
        }
        self.drawn.notify_one();
        std::mem::take(&mut state.queue) + prompt
    }

    /// Leaves [`Mode::Editing`] after the editor has returned a line.
    pub(super) fn end_edit(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.mode {
            Mode::Closed => Ok(()),
            Mode::Closing => self.finish(&mut state),
            Mode::Open | Mode::Editing => {
                state.mode = Mode::Open;
                self.drawn.notify_one();
                print(std::mem::take(&mut state.queue))
            }
        }
    }

    /// Restores the original terminal settings. May be called in any mode.
    pub(super) fn restore(&self) -> io::Result<()> {
        let original = self.original.lock();
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &original)?)
    }

    /// Sets the terminal settings of the present mode again, and requests a redraw, when the
    /// process continues after a stop: the shell has changed the settings.
    pub(super) fn resume(&self) {
        let state = self.state.lock();
        let settings = match state.mode {
            Mode::Open => Some(&state.between),
            Mode::Editing | Mode::Closing => state.editing.as_ref().or(Some(&state.between)),
            Mode::Closed => None,
        };
        if let Some(settings) = settings {
            tcsetattr(io::stdin(), SetArg::TCSANOW, settings).ok();
            self.request_redraw();
        }
    }

    /// Closes the screen, also while a line is edited: writes the queue and restores the settings.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.mode == Mode::Editing {
            state.mode = Mode::Closing;
            self.request_redraw();
            let is_open = |state: &mut State| state.mode != Mode::Closed;
            self.closed.wait_while_for(&mut state, is_open, CLOSE_TIMEOUT);
        }
        if state.mode != Mode::Closed { self.finish(&mut state) } else { Ok(()) }
    }

    /// Enters [`Mode::Closed`], writes the queue and restores the settings.
    fn finish(&self, state: &mut State) -> io::Result<()> {
        state.mode = Mode::Closed;
        self.closed.notify_all();
        self.drawn.notify_one();
        let written = print(std::mem::take(&mut state.queue));
        self.restore()?;
        written
    }

    fn request_redraw(&self) {
        if let Some(redraw) = &self.redraw {
            // A full channel holds a request already.
            redraw.try_send(()).ok();
        }
    }
}

/// Spawns the thread that forwards redraw requests to the editor. The printer may block until the
/// next line is edited.
fn spawn_redraw(mut printer: impl ExternalPrinter + Send + 'static) -> SyncSender<()> {
    let (redraw, requests) = sync_channel(1);
    std::thread::spawn(move || {
        while requests.recv().is_ok() && printer.print(REDRAW.to_owned()).is_ok() {}
    });
    redraw
}
