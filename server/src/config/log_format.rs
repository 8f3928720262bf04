//! The format of the log: the setting, and the format in force.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// The format in force, as its discriminant; 0 before it is known. The log is older than the
/// settings, and every thread writes to it.
static IN_FORCE: AtomicU8 = AtomicU8::new(0);

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LogFormat {
    /// A line with time, level, module, message and fields.
    #[default]
    Text = 1,
    /// A JSON object a line.
    Json = 2,
}

impl LogFormat {
    /// The format in force.
    pub(crate) fn in_force() -> LogFormat {
        match IN_FORCE.load(Ordering::Relaxed) {
            2 => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }

    /// Puts the format into force, unless one is: the settings are read the first time, and their
    /// warnings and errors have it already.
    pub(crate) fn begin(self) {
        IN_FORCE.compare_exchange(0, self as u8, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Puts the format into force.
    pub(crate) fn apply(self) {
        IN_FORCE.store(self as u8, Ordering::Relaxed);
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}
