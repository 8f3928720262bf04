//! SIGTERM, SIGINT and SIGHUP, handled by a thread of their own: the second SIGTERM or SIGINT
//! ends the process even if every other thread is stuck.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process, thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{SetArg, Termios, tcgetattr, tcsetattr},
};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The time after a SIGHUP within which a hangup of the terminal stops the server: some terminals
/// send the signal before they close.
const HANGUP_DELAY: Duration = Duration::from_secs(1);

/// The interval at which the terminal is polled during [`HANGUP_DELAY`].
const HANGUP_INTERVAL: Duration = Duration::from_millis(50);

/// The requests that arrive as signals.
#[derive(Debug)]
pub(super) struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT, or by a SIGHUP because the terminal was closed.
    /// The next SIGTERM or SIGINT ends the process with status 1.
    pub(super) stop: CancellationToken,
    /// Receives an item for each other SIGHUP; signals that arrive before an item is taken are
    /// merged into it.
    pub(super) reload: Receiver<()>,
}

/// Installs the handlers and starts their thread.
///
/// # Errors
///
/// The system cannot install a handler or start a thread.
pub(super) fn handle() -> io::Result<Signals> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (to_reload, reload) = channel(1);
    let stop = CancellationToken::new();
    let handler = {
        let _entered = runtime.enter();
        Handler {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            terminals: Terminals::of_this_process()?,
            stop: stop.clone(),
            reload: to_reload,
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(handler.run()))?;
    Ok(Signals { stop, reload })
}

/// The state of the signal thread, which never waits for another thread.
struct Handler {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    terminals: Terminals,
    stop: CancellationToken,
    reload: Sender<()>,
}

impl Handler {
    async fn run(mut self) {
        let mut hung_up_until = Instant::now();
        while !self.stop.is_cancelled() {
            let next_poll = Instant::now() + HANGUP_INTERVAL;
            tokio::select! {
                _ = self.terminate.recv() => self.stop("SIGTERM"),
                _ = self.interrupt.recv() => self.stop("SIGINT"),
                _ = self.hangup.recv() => {
                    hung_up_until = Instant::now() + HANGUP_DELAY;
                    if !self.terminals.any_hung_up() {
                        self.reload.try_send(()).ok();
                    }
                }
                () = sleep_until(next_poll), if next_poll < hung_up_until => {}
            }
            if Instant::now() < hung_up_until && self.terminals.any_hung_up() {
                self.stop("SIGHUP, the terminal was closed");
            }
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.terminals.restore();
        process::exit(1);
    }

    fn stop(&self, signal: &str) {
        if !self.stop.is_cancelled() {
            self.stop.cancel();
            tracing::info!(
                "{signal}: shutting down within --drain; a second SIGTERM or SIGINT exits immediately"
            );
        }
    }
}

/// The standard streams that are terminals, each with its settings at the start.
struct Terminals(Vec<(OwnedFd, Termios)>);

impl Terminals {
    fn of_this_process() -> io::Result<Terminals> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut terminals = Vec::new();
        for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            // Fails unless the stream is a terminal.
            if let Ok(settings) = tcgetattr(stream) {
                terminals.push((stream.try_clone_to_owned()?, settings));
            }
        }
        Ok(Terminals(terminals))
    }

    /// Whether the other end of one of the terminals was closed.
    fn any_hung_up(&self) -> bool {
        self.0.iter().any(|(terminal, _)| {
            let mut polled = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
            poll(&mut polled, PollTimeout::ZERO).is_ok()
                && polled[0].revents().is_some_and(|it| it.contains(PollFlags::POLLHUP))
        })
    }

    /// Restores the terminal settings that the console has changed.
    fn restore(&self) {
        for (terminal, found) in &self.0 {
            if tcgetattr(terminal).is_ok_and(|now| now != *found) {
                tcsetattr(terminal, SetArg::TCSANOW, found).ok();
            }
        }
    }
}
