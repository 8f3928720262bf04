//! SIGTERM, SIGINT and SIGHUP, handled by a thread of their own: a server that is stuck,
//! whatever in, still ends at the second signal.

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

/// How long after a SIGHUP the server's terminal may still disappear for the signal to have
/// been about that: some terminals send it first.
const HANGUP_DELAY: Duration = Duration::from_secs(1);

/// How often the terminal is examined during that time.
const HANGUP_INTERVAL: Duration = Duration::from_millis(50);

/// What signals ask for.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT, and by the SIGHUP of a terminal that is
    /// closed. The next SIGTERM or SIGINT ends the process with status 1.
    pub(crate) stop: CancellationToken,
    /// Receives something at each other SIGHUP. Those that come before the one before is
    /// taken are one.
    pub(crate) reload: Receiver<()>,
}

/// Handles signals from here on.
///
/// # Errors
///
/// The system's.
pub(crate) fn signals() -> io::Result<Signals> {
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

/// The state of the thread that handles signals. Nothing that it does waits for another
/// thread.
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
            let next_look = Instant::now() + HANGUP_INTERVAL;
            tokio::select! {
                _ = self.terminate.recv() => self.stop(),
                _ = self.interrupt.recv() => self.stop(),
                _ = self.hangup.recv() => {
                    hung_up_until = Instant::now() + HANGUP_DELAY;
                    if !self.terminals.any_hung_up() {
                        self.reload.try_send(()).ok();
                    }
                }
                () = sleep_until(next_look), if next_look < hung_up_until => {}
            }
            if Instant::now() < hung_up_until && self.terminals.any_hung_up() {
                tracing::info!("SIGHUP: the server's terminal was closed");
                self.stop();
            }
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.terminals.restore();
        process::exit(1);
    }

    fn stop(&self) {
        if !self.stop.is_cancelled() {
            self.stop.cancel();
            tracing::info!("ending; a second signal ends at once");
        }
    }
}

/// The standard streams that are terminals, with the settings that each was found with.
struct Terminals(Vec<(OwnedFd, Termios)>);

impl Terminals {
    fn of_this_process() -> io::Result<Terminals> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut terminals = Vec::new();
        for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            // Only a terminal has settings.
            if let Ok(settings) = tcgetattr(stream) {
                terminals.push((stream.try_clone_to_owned()?, settings));
            }
        }
        Ok(Terminals(terminals))
    }

    /// Whether one of them has been closed at its other end.
    fn any_hung_up(&self) -> bool {
        self.0.iter().any(|(terminal, _)| {
            let mut asked = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
            poll(&mut asked, PollTimeout::ZERO).is_ok()
                && asked[0].revents().is_some_and(|it| it.contains(PollFlags::POLLHUP))
        })
    }

    /// Gives those back as they were found that the console has changed.
    fn restore(&self) {
        for (terminal, found) in &self.0 {
            if tcgetattr(terminal).is_ok_and(|now| now != *found) {
                tcsetattr(terminal, SetArg::TCSANOW, found).ok();
            }
        }
    }
}
