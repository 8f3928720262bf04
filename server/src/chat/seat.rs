//! The terminal that an operator sits at: `echogate serve --console`.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::{Signal, raise};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    Hub,
    console::{Console, Typed},
};
use crate::terminal::{self, Screen, history};

/// Lines of the log that wait to be shown. More are not kept: showing them never holds
/// up what they tell of.
const LOGGED: usize = 1024;

/// Where the log goes while a line is edited: above it.
#[derive(Clone, Debug)]
pub(crate) struct Log(Sender<String>);

impl Log {
    /// The log, and what is to be shown of it.
    pub(crate) fn new() -> (Log, Receiver<String>) {
        let (to_screen, lines) = channel(LOGGED);
        (Log(to_screen), lines)
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

impl Write for Log {
    /// Takes a whole entry.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.try_send(String::from_utf8_lossy(entry).into_owned()).ok();
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An operator at a terminal, for as long as the server serves.
#[derive(Debug)]
pub(crate) struct Seat {
    leave: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Seat {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn take(hub: Arc<Hub>, log: Receiver<String>) -> io::Result<Seat> {
        let (typed, screen) = terminal::start(history::file())?;
        let leave = CancellationToken::new();
        let task = tokio::spawn(sit(hub, typed, screen, log, leave.clone()));
        Ok(Seat { leave, task })
    }

    /// Gives the terminal back as it was.
    pub(crate) async fn give_up(self) {
        self.leave.cancel();
        self.task.await.ok();
    }
}

async fn sit(
    hub: Arc<Hub>,
    mut typed: terminal::Typed,
    screen: Arc<Screen>,
    mut log: Receiver<String>,
    leave: CancellationToken,
) -> io::Result<()> {
    let (operator, conversations, mut events) = hub.enter();
    let (mut console, greeting) = Console::new(operator, &conversations);
    screen.show(&greeting).await?;
    let mut seated = true;
    loop {
        let shown = tokio::select! {
            () = leave.cancelled() => break,
            Ok(_) = &mut typed.stopped => {
                // As the terminal would have it, if no line were being edited.
                raise(Signal::SIGINT).ok();
                continue;
            }
            line = typed.lines.recv(), if seated => match line {
                None => {
                    seated = false;
                    hub.leave(operator);
                    "the console is closed, and the server goes on\n".to_owned()
                }
                Some(line) => match console.typed(&line, now()) {
                    Typed::Show(text) => text,
                    Typed::Say(conversation, text) => {
                        match hub.operator_says(operator, conversation, &text) {
                            Ok(()) => continue,
                            Err(why) => why + "\n",
                        }
                    }
                },
            },
            Some(event) = events.recv(), if seated => console.told(&event),
            Some(entry) = log.recv() => entry,
        };
        screen.show(&shown).await?;
    }
    hub.leave(operator);
    screen.close()
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
