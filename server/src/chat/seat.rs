//! The terminal that an operator sits at: `echogate serve --console`.

use std::{
    future::pending,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use echogate_proto::operator::ToOperator;
use nix::sys::signal::{Signal, raise};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    Hub,
    console::{Console, Typed},
    now,
};
use crate::terminal::{self, Deadly, Screen, history};

/// Lines of the log that wait to be shown. More are not kept: showing them never holds
/// up what they tell of.
const LOGGED: usize = 1024;

/// How long a terminal may take to be given back.
const GIVING_UP: Duration = Duration::from_secs(2);

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
        let (typed, screen) = terminal::start(history::file(), Deadly::Handled)?;
        let leave = CancellationToken::new();
        let task = tokio::spawn(sit(hub, typed, screen, log, leave.clone()));
        Ok(Seat { leave, task })
    }

    /// Gives the terminal back as it was, if it takes that in time: one that is stopped
    /// (Ctrl-S) does not.
    pub(crate) async fn give_up(self) {
        self.leave.cancel();
        timeout(GIVING_UP, self.task).await.ok();
    }
}

/// An operator who is there, until this is dropped.
struct Present {
    hub: Arc<Hub>,
    operator: u64,
    events: Receiver<Arc<ToOperator>>,
    console: Console,
}

impl Present {
    /// Also gives what is to be shown first.
    fn new(hub: &Arc<Hub>) -> (Present, String) {
        let (operator, conversations, events) = hub.enter();
        let (console, greeting) = Console::new(operator, &conversations);
        (Present { hub: hub.clone(), operator, events, console }, greeting)
    }

    /// What is to be shown of a line that was typed.
    fn typed(&mut self, line: &str) -> String {
        match self.console.typed(line, now()) {
            Typed::Show(text) => text,
            Typed::Say(conversation, text) => {
                let said = self.hub.operator_says(self.operator, conversation, &text);
                said.map_or_else(|why| why + "\n", |()| String::new())
            }
        }
    }

    /// What is to be shown of what happens next.
    async fn told(&mut self) -> String {
        if let Some(event) = self.events.recv().await {
            return self.console.told(&event);
        }
        let (present, greeting) = Present::new(&self.hub);
        *self = present;
        format!("more happened at once than was shown; {greeting}")
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.hub.leave(self.operator);
    }
}

async fn sit(
    hub: Arc<Hub>,
    typed: terminal::Typed,
    screen: Arc<Screen>,
    log: Receiver<String>,
    leave: CancellationToken,
) -> io::Result<()> {
    let sat = tokio::select! {
        sat = converse(&hub, typed, &screen, log) => sat,
        () = leave.cancelled() => Ok(()),
    };
    sat.and(screen.close())
}

/// Until the terminal fails.
async fn converse(
    hub: &Arc<Hub>,
    mut typed: terminal::Typed,
    screen: &Screen,
    mut log: Receiver<String>,
) -> io::Result<()> {
    let (present, greeting) = Present::new(hub);
    screen.show(&greeting).await?;
    let mut present = Some(present);
    loop {
        let seated = present.is_some();
        let told = async {
            match &mut present {
                Some(present) => present.told().await,
                None => pending().await,
            }
        };
        let next = tokio::select! {
            stop = &mut typed.stopped, if !typed.stopped.is_terminated() => {
                // As the terminal would have it, if no line were being edited.
                if stop.is_ok() {
                    raise(Signal::SIGINT).ok();
                }
                continue;
            }
            line = typed.lines.recv(), if seated => Next::Typed(line),
            shown = told => Next::Shown(shown),
            Some(entry) = log.recv() => Next::Shown(entry),
        };
        let shown = match (next, &mut present) {
            (Next::Shown(shown), _) => shown,
            (Next::Typed(Some(line)), Some(present)) => present.typed(&line),
            (Next::Typed(_), _) => {
                present = None;
                "the console is closed, and the server goes on\n".to_owned()
            }
        };
        screen.show(&shown).await?;
    }
}

/// What happens at a console.
enum Next {
    /// A line was typed; none when there will be no more.
    Typed(Option<String>),
    /// Something is to be shown.
    Shown(String),
}
