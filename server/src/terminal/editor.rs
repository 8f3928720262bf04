//! The line editor, on a thread of its own.

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

use super::{
    history::MAX_LINES,
    screen::Screen,
    signals::{self, Deadly},
};

const PROMPT: &str = "> ";

/// The most lines that wait to be sent.
const MAX_WAITING: usize = 10_000;

/// What is said when there is no room for one more.
const FULL: &str = "not sent: 10,000 lines wait already\n";

/// What the person at the terminal does.
#[derive(Debug)]
pub(crate) struct Typed {
    /// The lines, without their ends; it closes with the input. It holds what is typed
    /// while the server does not read or is away, since the keys (Ctrl-C) work then too.
    pub(crate) lines: mpsc::Receiver<String>,
    /// Why there is no more, other than the end of the input.
    pub(crate) stopped: oneshot::Receiver<Stopped>,
}

/// Why nothing more is typed.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// By Ctrl-C.
    Interrupted,
    /// The terminal cannot be read.
    Input(io::Error),
    /// It cannot be written to.
    Output(io::Error),
}

/// Starts the editor. Lines typed before are in the file `history`; `deadly` signals end the
/// program, the terminal being given back.
pub(crate) fn start(history: Option<PathBuf>, deadly: Deadly) -> io::Result<(Typed, Arc<Screen>)> {
    let mut config = Config::builder()
        .behavior(Behavior::Stdio)
        .auto_add_history(true)
        // A line that begins with a space is not remembered: it may be a secret.
        .history_ignore_space(true)
        .max_history_size(MAX_LINES)
        .map_err(io_error)?
        // A pasted newline ends a line, as a typed one does.
        .bracketed_paste(false)
        // Without it the prompt is not asked for.
        .color_mode(ColorMode::Forced);
    // The last drawing is never completed: see `Screen::take_prompt`.
    config.enable_synchronized_output(false);
    let config = config.build();
    let lines_before = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, lines_before).map_err(io_error)?;
    if let Some(file) = &history {
        editor.load_history(file).ok();
    }
    // Terminals that cannot move the cursor have none.
    let printer = editor.create_external_printer().ok();
    let screen = Arc::new(Screen::new(printer)?);
    editor.set_helper(Some(Drawing(screen.clone())));
    editor.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(Suspend)));
    signals::handle(screen.clone(), deadly)?;

    let (line_to, lines) = mpsc::channel(MAX_WAITING);
    let (stop_to, stopped) = oneshot::channel();
    let drawn_on = screen.clone();
    // Never joined: it may wait for a key for ever.
    std::thread::spawn(move || {
        if let Err(stop) = edit(editor, &drawn_on, &line_to, history.as_deref()) {
            stop_to.send(stop).ok();
        }
    });
    Ok((Typed { lines, stopped }, screen))
}

/// Reads lines until the end of the input.
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
                    Err(TrySendError::Full(_)) => screen.note(FULL).map_err(Stopped::Output)?,
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

/// Ctrl-Z, which the terminal does not turn into a signal while a line is edited.
#[derive(Debug)]
struct Suspend;

impl ConditionalEventHandler for Suspend {
    /// Sends SIGTSTP to the foreground processes, as the terminal would. The rest is done where
    /// that signal is handled.
    fn handle(&self, _: &Event, _: u16, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        kill(Pid::from_raw(0), Signal::SIGTSTP).ok();
        Some(Cmd::Noop)
    }
}

/// What the editor asks while it draws.
#[derive(Debug)]
struct Drawing(Arc<Screen>);

impl Highlighter for Drawing {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.0.take_prompt(prompt))
    }
}

impl Completer for Drawing {
    type Candidate = String;

    /// Tab is a character like any other: what completes any text is a tab.
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
