//! Signals, as a program has to take them that changes the terminal's settings: with its default
//! actions the terminal would keep those settings when the program ends or is stopped.

use std::{io, sync::Arc, thread};

use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::Screen;

/// Which signals end the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadly {
    /// Those that end a program by default, once the terminal is given back.
    Default,
    /// None: the program handles them itself, and closes the screen.
    Handled,
}

/// Handles the signals from now on, on a thread of its own.
pub(super) fn handle(screen: Arc<Screen>, deadly: Deadly) -> io::Result<()> {
    let deadly: &[i32] = match deadly {
        Deadly::Default => &[SIGHUP, SIGINT, SIGQUIT, SIGTERM],
        Deadly::Handled => &[],
    };
    let mut signals = Signals::new([&[SIGTSTP, SIGCONT], deadly].concat())?;
    thread::Builder::new().name("terminal-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGCONT => screen.resume(),
                signal => {
                    screen.give_back();
                    // Returns from SIGTSTP alone, when the process goes on.
                    emulate_default_handler(signal).ok();
                }
            }
        }
    })?;
    Ok(())
}
