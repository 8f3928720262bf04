//! Signal handling for the terminal settings: with the default actions the terminal would keep the
//! editor's settings when the process is stopped or terminated.

use std::{io, sync::Arc, thread};

use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::Screen;

/// The signals that terminate a process by default.
pub(crate) const FATAL_SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Starts the thread that handles the signals. Those in `fatal` terminate the process after the
/// terminal has been restored.
pub(super) fn handle(screen: Arc<Screen>, fatal: &[i32]) -> io::Result<()> {
    let mut signals = Signals::new([&[SIGTSTP, SIGCONT], fatal].concat())?;
    thread::Builder::new().name("terminal-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGCONT => screen.resume(),
                signal => {
                    // A terminal that has been closed needs no settings.
                    screen.restore().ok();
                    // Returns after SIGTSTP only, when the process continues.
                    emulate_default_handler(signal).ok();
                }
            }
        }
    })?;
    Ok(())
}
