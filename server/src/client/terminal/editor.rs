//! The line editor, on a thread of its own.

use std::{borrow::Cow, io, sync::Arc};

use rustyline::{
    Behavior, ColorMode, Config, Context, Editor, Helper, completion::Completer,
    config::Configurer as _, error::ReadlineError, highlight::Highlighter, hint::Hinter,
    history::MemHistory, validate::Validator,
};
use tokio::sync::{mpsc, oneshot};

use super::{super::link::Stop, screen::Screen};

const PROMPT: &str = "> ";

/// What the person at the terminal does.
#[derive(Debug)]
pub(super) struct Typed {
    /// The lines, without their ends; it closes with the input. Unbounded, so that
    /// the keys work (Ctrl-C) while the server does not read; it holds what was typed.
    pub(super) lines: mpsc::UnboundedReceiver<String>,
    /// Why there is no more, other than the end of the input.
    pub(super) stopped: oneshot::Receiver<Stop>,
}

/// Starts the editor.
pub(super) fn start() -> io::Result<(Typed, Arc<Screen>)> {
    let mut config = Config::builder()
        .behavior(Behavior::Stdio)
        .auto_add_history(true)
        // A pasted newline ends a line, as a typed one does.
        .bracketed_paste(false)
        // Without it the prompt is not asked for.
        .color_mode(ColorMode::Forced);
    // The last drawing is never completed: see `Screen::take_prompt`.
    config.enable_synchronized_output(false);
    let config = config.build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history).map_err(io_error)?;
    // Terminals that cannot move the cursor have none.
    let printer = editor.create_external_printer().ok();
    let screen = Arc::new(Screen::new(printer)?);
    editor.set_helper(Some(Drawing(screen.clone())));

    let (line_to, lines) = mpsc::unbounded_channel();
    let (stop_to, stopped) = oneshot::channel();
    let drawn_on = screen.clone();
    // Never joined: it may wait for a key for ever.
    std::thread::spawn(move || {
        if let Err(stop) = edit(editor, &drawn_on, &line_to) {
            stop_to.send(stop).ok();
        }
    });
    Ok((Typed { lines, stopped }, screen))
}

/// Reads lines until the end of the input.
fn edit(
    mut editor: Editor<Drawing, MemHistory>,
    screen: &Screen,
    lines: &mpsc::UnboundedSender<String>,
) -> Result<(), Stop> {
    while screen.begin_edit() {
        let line = editor.readline(PROMPT);
        screen.end_edit().map_err(Stop::Output)?;
        match line {
            Ok(line) if line.is_empty() => {}
            Ok(line) => {
                if lines.send(line).is_err() {
                    break;
                }
            }
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Interrupted) => return Err(Stop::Interrupted),
            Err(error) => return Err(Stop::Input(io_error(error))),
        }
    }
    screen.restore().map_err(Stop::Input)
}

fn io_error(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        ReadlineError::Errno(errno) => errno.into(),
        error => io::Error::other(error.to_string()),
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
