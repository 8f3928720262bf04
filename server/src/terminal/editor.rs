//! The line editor, on a dedicated thread.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustyline::{
    Behavior, Cmd, ColorMode, ConditionalEventHandler, Config, Context, Editor, Event,
    EventContext, EventHandler, Helper, KeyEvent, completion::Completer, config::Configurer as _,
    error::ReadlineError, highlight::Highlighter, hint::Hinter, history::FileHistory,
    validate::Validator,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{history::MAX_LINES, screen::Screen, signals};

const PROMPT: &str = "> ";

/// The most typed lines that wait to be sent.
const MAX_QUEUED: usize = 10_000;

/// The notice for a line that does not fit in the queue.
const QUEUE_FULL: &str = "line discarded: 10,000 lines are waiting to be sent\n";

/// The input of the user at the terminal.
#[derive(Debug)]
pub(crate) struct Typed {
    /// The lines without their newlines; closed at the end of the input. Lines that are typed while
    /// the peer does not read or is disconnected wait here, so that the editor and Ctrl-C keep
    /// working.
    pub(crate) lines: mpsc::Receiver<String>,
    /// Receives the reason of an end that is not the regular end of the input.
    pub(crate) stopped: oneshot::Receiver<Stopped>,
}

/// The reason why the editor stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The terminal cannot be read.
    Input(io::Error),
    /// The terminal cannot be written to.
    Output(io::Error),
}

/// Starts the editor, with the history in the file `history`. The signals in `fatal` terminate the
/// process after the terminal has been restored. A program with handlers of its own passes none,
/// and closes the screen itself.
pub(crate) fn start(history: Option<PathBuf>, fatal: &[i32]) -> io::Result<(Typed, Arc<Screen>)> {
    let mut config = Config::builder()
        .behavior(Behavior::Stdio)
        .auto_add_history(true)
        // A line that begins with a space is not kept: it may be a secret.
        .history_ignore_space(true)
        .max_history_size(MAX_LINES)
        .map_err(io_error)?
        // A pasted newline ends a line like a typed one.
        .bracketed_paste(false)
        // Without colours the editor does not call `highlight_prompt`.
        .color_mode(ColorMode::Forced);
    // `Screen::take_prompt` may park the editor's thread within a synchronized update, which would
    // then never be completed.
    config.enable_synchronized_output(false);
    let config = config.build();
    let file_history = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, file_history).map_err(io_error)?;
    if let Some(file) = &history {
        editor.load_history(file).ok();
    }
    // The editor has no external printer for a terminal that cannot move the cursor.
    let printer = editor.create_external_printer().ok();
    let screen = Arc::new(Screen::new(printer)?);
    editor.set_helper(Some(Drawing(screen.clone())));
    editor.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(Suspend)));
    signals::handle(screen.clone(), fatal)?;

    let (line_to, lines) = mpsc::channel(MAX_QUEUED);
    let (stop_to, stopped) = oneshot::channel();
    let editor_screen = screen.clone();
    // The thread is never joined, since it may be waiting for a key.
    std::thread::spawn(move || {
        if let Err(stop) = edit(editor, &editor_screen, &line_to, history.as_deref()) {
            stop_to.send(stop).ok();
        }
    });
    Ok((Typed { lines, stopped }, screen))
}

/// Reads lines until the end of the input or a failure.
fn edit(
    mut editor: Editor<Drawing, FileHistory>,
    screen: &Screen,
    lines: &mpsc::Sender<String>,
    history: Option<&Path>,
) -> Result<(), Stopped> {
    while screen.begin_edit() {
        let line = editor.readline(PROMPT);
        screen.end_edit().map_err(Stopped::Output)?;
        match line {
            Ok(line) if line.is_empty() => {}
            Ok(line) => {
                if let Some(file) = history {
                    editor.append_history(file).ok();
                }
                match lines.try_send(line) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => {
                        screen.write_between(QUEUE_FULL).map_err(Stopped::Output)?;
                    }
                    Err(TrySendError::Closed(_)) => break,
                }
            }
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Interrupted) => return Err(Stopped::Interrupted),
            Err(error) => return Err(Stopped::Input(io_error(error))),
        }
    }
    screen.restore().map_err(Stopped::Input)
}

fn io_error(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        ReadlineError::Errno(errno) => errno.into(),
        error => io::Error::other(error.to_string()),
    }
}

/// The handler of Ctrl-Z, which the terminal does not turn into a signal while a line is edited.
#[derive(Debug)]
struct Suspend;

impl ConditionalEventHandler for Suspend {
    /// Sends SIGTSTP to the foreground process group, as the terminal would. The handler of that
    /// signal restores the terminal.
    fn handle(&self, _: &Event, _: u16, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        kill(Pid::from_raw(0), Signal::SIGTSTP).ok();
        Some(Cmd::Noop)
    }
}

/// The helper that the editor calls while it draws.
#[derive(Debug)]
struct Drawing(Arc<Screen>);

impl Highlighter for Drawing {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.0.take_prompt(prompt))
    }
}

impl Completer for Drawing {
    type Candidate = String;

    /// Completes any text with a tab, so that the tab key enters a tab.
    fn complete(
        &self,
        _: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((position, vec!["\t".to_owned()]))
    }
}

impl Helper for Drawing {}
impl Hinter for Drawing {
    type Hint = String;
}
impl Validator for Drawing {}
