//! The format of the log: the setting, and the format in force.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// The format in force, as its discriminant; 0 until the settings give one. A process-wide
/// variable, since every thread logs, also before the settings are read.
static IN_FORCE: AtomicU8 = AtomicU8::new(0);

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LogFormat {
    /// A line with time, level, module, message and fields.
    #[default]
    Text = 1,
    /// One JSON object per line.
    Json = 2,
}

impl LogFormat {
    /// The format in force: text until the settings give one.
    pub(crate) fn in_force() -> LogFormat {
        match IN_FORCE.load(Ordering::Relaxed) {
            2 => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }

    /// Puts the format into force unless another one is, so that warnings and errors of the first
    /// reading of the settings have it already.
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
