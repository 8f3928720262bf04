//! The permissions of a file that holds a secret.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Permissions that the file of a secret should not grant: reading and writing to other users, and
/// writing to its group. Reading by the group is allowed, since services share certificates that
/// way.
const TOO_OPEN: u32 = 0o026;

/// Logs a warning if other users can read or change a file that holds a secret. This is no error:
/// secrets that are mounted into a container often have mode 0644, and the container has no other
/// users.
pub(super) fn warn_of_access(file: &Path) {
    if let Ok(metadata) = fs::metadata(file)
        && metadata.is_file()
        && let Some(who) = exposure(metadata.mode())
    {
        tracing::warn!(
            "{}: {who} this secret (mode {:04o}); restrict it with chmod 600",
            file.display(),
            metadata.mode() & 0o7777
        );
    }
}

/// Describes what a file mode grants beyond [`TOO_OPEN`]; None if nothing.
fn exposure(mode: u32) -> Option<&'static str> {
    match mode & TOO_OPEN {
        0 => None,
        open if open & 0o002 != 0 => Some("every user can change"),
        open if open & 0o020 != 0 => Some("its group can change"),
        _ => Some("every user can read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_exposed_if_others_can_read_it_or_its_group_can_change_it() {
        for (mode, expected) in [
            (0o100_600, None),
            (0o100_400, None),
            (0o100_640, None),
            (0o100_440, None),
            (0o100_604, Some("every user can read")),
            (0o100_644, Some("every user can read")),
            (0o100_660, Some("its group can change")),
            (0o100_664, Some("its group can change")),
            (0o100_602, Some("every user can change")),
            (0o100_666, Some("every user can change")),
        ] {
            assert_eq!(exposure(mode), expected, "{mode:o}");
        }
    }
}
