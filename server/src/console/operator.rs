//! The task of the operator at the server's terminal.

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

use super::commands::{Action, Console};
use crate::{
    service::chat::{Hub, unix_time},
    terminal::{self, Screen, history},
};

/// The time limit of writing the last output, since a terminal may be stopped (Ctrl-S).
const CLOSE: Duration = Duration::from_secs(2);

/// The handle of the operator's task.
#[derive(Debug)]
pub(crate) struct ConsoleOperator {
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl ConsoleOperator {
    /// Starts the line editor at the terminal, and the operator's task, which also shows the lines
    /// from `log`.
    ///
    /// # Errors
    ///
    /// The terminal cannot be set up.
    pub(crate) fn start(hub: Arc<Hub>, log: Receiver<String>) -> io::Result<ConsoleOperator> {
        let (input, screen) = terminal::start(history::file(), &[])?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = Handle::current();
        // A blocking thread, since writing to a terminal may block.
        let task = spawn_blocking(move || {
            let operator = stopped.run_until_cancelled_owned(run(&hub, input, &screen, log));
            runtime.block_on(operator).unwrap_or(Ok(())).and(screen.close())
        });
        Ok(ConsoleOperator { stop, task })
    }

    /// Ends the task and restores the terminal, unless that takes longer than [`CLOSE`].
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(CLOSE, self.task).await.ok();
    }
}

/// The operator's registration with the hub. Dropping a session ends the registration.
struct Session {
    hub: Arc<Hub>,
    operator: u64,
    console: Console,
}

impl Session {
    /// Registers an operator. Returns the session and the text to show first.
    fn start(hub: &Arc<Hub>) -> (Session, String) {
        let (operator, conversations) = hub.add_operator();
        let (console, greeting) = Console::new(operator, &conversations);
        (Session { hub: hub.clone(), operator, console }, greeting)
    }

    /// Executes a typed line. Returns the text to show.
    fn execute(&mut self, line: &str) -> String {
        match self.console.parse(line, unix_time()) {
            Action::Show(text) => text,
            Action::Say(conversation, text) => {
                let said = self.hub.operator_says(self.operator, conversation, &text);
                said.map_or_else(|why| why + "\n", |()| String::new())
            }
        }
    }

    /// Waits for the next event. Returns the text to show.
    async fn next_event(&mut self) -> String {
        if let Some(event) = poll_fn(|cx| self.hub.poll_event(self.operator, cx)).await {
            return self.console.on_event(&event.message);
        }
        let (session, greeting) = Session::start(&self.hub);
        *self = session;
        format!("the terminal was too slow: some events were not shown\n{greeting}")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.remove_operator(self.operator);
    }
}

/// Runs the operator until the terminal fails. The end of the input ends the operator's
/// registration, but the log is still shown.
async fn run(
    hub: &Arc<Hub>,
    mut input: terminal::Typed,
    screen: &Screen,
    mut log: Receiver<String>,
) -> io::Result<()> {
    let (session, greeting) = Session::start(hub);
    screen.show(&greeting).await?;
    let mut session = Some(session);
    loop {
        let reads = session.is_some();
        let event = async {
            match &mut session {
                Some(session) => session.next_event().await,
                None => pending().await,
            }
        };
        let next = tokio::select! {
            stop = &mut input.stopped, if !input.stopped.is_terminated() => {
                // As the terminal does for Ctrl-C while no line is edited.
                if stop.is_ok() {
                    raise(Signal::SIGINT).ok();
                }
                continue;
            }
            line = input.lines.recv(), if reads => Next::Typed(line),
            text = event => Next::Show(text),
            Some(entry) = log.recv() => Next::Show(entry),
        };
        let text = match (next, &mut session) {
            (Next::Show(text), _) => text,
            (Next::Typed(Some(line)), Some(session)) => session.execute(&line),
            (Next::Typed(_), _) => {
                session = None;
                "console closed; the server is still running\n".to_owned()
            }
        };
        screen.show(&text).await?;
    }
}

/// The next event at the terminal.
enum Next {
    /// A typed line; `None` at the end of the input.
    Typed(Option<String>),
    Show(String),
}
