//! The terminal that an operator sits at: `echogate serve --console`.

use std::{
    future::{pending, poll_fn},
    io,
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::{Signal, raise};
use tokio::{
    runtime::Handle,
    sync::mpsc::Receiver,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Hub,
    console::{Console, Typed},
    now,
};
use crate::terminal::{self, Deadly, Screen, history};

/// How long a terminal may take to be given back.
const GIVING_UP: Duration = Duration::from_secs(2);

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
        let sitting = sit(hub, typed, screen, log, leave.clone());
        // On a thread of its own: a terminal may block whoever writes to it.
        let runtime = Handle::current();
        let task = spawn_blocking(move || runtime.block_on(sitting));
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
    console: Console,
}

impl Present {
    /// Also gives what is to be shown first.
    fn new(hub: &Arc<Hub>) -> (Present, String) {
        let (operator, conversations) = hub.enter();
        let (console, greeting) = Console::new(operator, &conversations);
        (Present { hub: hub.clone(), operator, console }, greeting)
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
        if let Some(event) = poll_fn(|cx| self.hub.poll_event(self.operator, cx)).await {
            return self.console.told(&event.told);
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
