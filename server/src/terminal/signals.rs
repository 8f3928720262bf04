//! Signal handling for the terminal settings: with the default actions the terminal would keep the
//! editor's settings when the process is stopped or terminated.

use std::{io, sync::Arc, thread};

use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::Screen;

/// The signals that terminate the process after the terminal has been restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FatalSignals {
    /// The signals that terminate a process by default.
    Default,
    /// None: the program handles them itself, and closes the screen.
    Handled,
}

/// Starts the thread that handles the signals.
pub(super) fn handle(screen: Arc<Screen>, fatal: FatalSignals) -> io::Result<()> {
    let fatal: &[i32] = match fatal {
        FatalSignals::Default => &[SIGHUP, SIGINT, SIGQUIT, SIGTERM],
        FatalSignals::Handled => &[],
    };
    let mut signals = Signals::new([&[SIGTSTP, SIGCONT], fatal].concat())?;
    thread::Builder::new().name("terminal-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGCONT => screen.resume(),
                signal => {
                    screen.restore_for_signal();
                    // Returns after SIGTSTP only, when the process continues.
                    emulate_default_handler(signal).ok();
                }
            }
        }
    })?;
    Ok(())
}
