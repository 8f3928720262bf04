//! The identifier of a replica.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// The identifier of a process in its cluster, chosen at random when it starts. Subjects and messages
/// contain it as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct ReplicaId(u64);

impl ReplicaId {
    /// A random identifier.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn random() -> io::Result<ReplicaId> {
        getrandom::u64().map(ReplicaId).map_err(io::Error::other)
    }

    /// The identifier of a test's replica.
    #[cfg(test)]
    pub(crate) fn of(number: u64) -> ReplicaId {
        ReplicaId(number)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<ReplicaId> for String {
    fn from(id: ReplicaId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for ReplicaId {
    type Error = String;

    fn try_from(text: String) -> Result<ReplicaId, String> {
        let number = u64::from_str_radix(&text, 16).ok().filter(|_| text.len() == 16);
        number.map(ReplicaId).ok_or_else(|| "expected 16 hexadecimal digits".to_owned())
    }
}
