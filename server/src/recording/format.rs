//! The formats of recordings that are written.

use std::{
    ffi::OsStr,
    fmt::{self, Display},
    path::Path,
    str::FromStr,
};

use super::model::Traffic;

/// A format of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Packets, for Wireshark.
    #[default]
    Pcapng,
    /// One event per line.
    Jsonl,
    /// WebSocket messages, for browsers.
    Har,
}

impl Format {
    pub(super) const ALL: [Format; 3] = [Format::Pcapng, Format::Jsonl, Format::Har];

    /// The name, which is also the extension of file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Pcapng => "pcapng",
            Format::Jsonl => "jsonl",
            Format::Har => "har",
        }
    }

    /// The format by the extension of a file name.
    ///
    /// # Errors
    ///
    /// One line that names the file and the possible extensions.
    pub(crate) fn of_file(path: &Path) -> Result<Format, String> {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        extension.parse().map_err(|_| {
            format!("{}: expected a name that ends in .pcapng, .jsonl or .har", path.display())
        })
    }

    /// The format by the extension of a file name, for connections with `traffic`.
    ///
    /// # Errors
    ///
    /// One line that names the file and the possible formats.
    pub(crate) fn for_traffic(path: &Path, traffic: Traffic) -> Result<Format, String> {
        match Format::of_file(path)? {
            Format::Har if traffic != Traffic::Messages => Err(format!(
                "{}: HAR has WebSocket connections only: use .pcapng or .jsonl",
                path.display()
            )),
            format => Ok(format),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let known = Format::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| "expected pcapng, jsonl or har".to_owned())
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
