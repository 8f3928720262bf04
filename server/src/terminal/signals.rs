//! Signal handling for the terminal settings. With the default actions, the terminal would keep the
//! editor's settings after the process is stopped or terminated. A command that has to clean up
//! waits for [`fatal_signal()`] instead.

use std::{fs, future::pending, io, sync::Arc, thread};

use futures_util::{StreamExt, stream::FuturesUnordered};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    flag::register_conditional_default,
    iterator::Signals,
    low_level::emulate_default_handler,
};
use tokio::signal::unix::{SignalKind, signal};

use super::Screen;

/// The signals that terminate a process by default.
pub(crate) const FATAL_SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Waits for one of [`FATAL_SIGNALS`]. A signal that the parent process has set to be ignored, as
/// `nohup` does with SIGHUP, stays ignored. A signal that cannot be handled keeps its action. Each
/// further signal terminates the process at once.
pub(crate) async fn fatal_signal() -> i32 {
    let ignored = ignored();
    let is_handled = |number: &i32| ignored >> (number - 1) & 1 == 0;
    let handled = FATAL_SIGNALS.into_iter().filter(is_handled);
    let mut signals: FuturesUnordered<_> = handled
        .filter_map(|number| Some((number, signal(SignalKind::from_raw(number)).ok()?)))
        .map(|(number, mut signal)| async move { signal.recv().await.map(|()| number) })
        .collect();
    match signals.next().await.flatten() {
        Some(number) => {
            for further in FATAL_SIGNALS.into_iter().filter(is_handled) {
                register_conditional_default(further, Arc::new(true.into())).ok();
            }
            number
        }
        None => pending().await,
    }
}

/// The ignored signals as a set of bits, from `/proc` of Linux; 0 on other systems.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

/// Starts the thread that handles the signals. Those in `fatal` terminate the process after the
/// terminal has been restored.
pub(super) fn handle(screen: Arc<Screen>, fatal: &[i32]) -> io::Result<()> {
    let mut signals = Signals::new([&[SIGTSTP, SIGCONT], fatal].concat())?;
    thread::Builder::new().name("terminal-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGCONT => screen.resume(),
                signal => {
                    // Fails if the terminal has been closed.
                    screen.restore().ok();
                    // Returns only after SIGTSTP, when the process continues.
                    emulate_default_handler(signal).ok();
                }
            }
        }
    })?;
    Ok(())
}
