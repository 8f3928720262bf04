//! The settings of the recorder.

use std::{
    fmt::{self, Display},
    path::PathBuf,
    time::Duration,
};

use crate::recording::format::Format;

/// The settings of the recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecorderSettings {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The format of the files.
    pub(crate) format: Format,
    /// The size of a file at which the next one begins, in bytes.
    pub(crate) rotate_size: u64,
    /// The age of a file at which the next one begins.
    pub(crate) rotate_time: Duration,
    /// The maximum size of all recordings in the directory, in bytes.
    pub(crate) limit: u64,
    /// Whether all connections are recorded, not only those of certain endpoints.
    pub(crate) records_all: bool,
}

impl Display for RecorderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecorderSettings { dir, format, rotate_size, rotate_time, limit, .. } = self;
        let (dir, size, limit) = (dir.display(), Size(*rotate_size), Size(*limit));
        write!(f, "{dir} ({format}, files of {size} or {rotate_time:?}, at most {limit})")
    }
}

/// A number of bytes in the notation of the settings: `64M`.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        match units.into_iter().find(|(shift, _)| self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}
