//! The wording of I/O errors in messages, and the reading of text files, whose errors name the
//! file.

use std::{fs, io, path::Path};

use nix::errno::Errno;

/// Describes an error in lower case and without its number: `connection refused`, not `Connection
/// refused (os error 111)`.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    // Names (WebSocket) and abbreviations (DNS) keep their capitals.
    let is_name = chars.clone().take_while(|c| c.is_alphabetic()).any(char::is_uppercase);
    if is_name { text } else { first.to_lowercase().chain(chars).collect() }
}

/// Reads a file of text.
///
/// # Errors
///
/// One line that names the file and says what is wrong with it.
pub(crate) fn read_text(file: &Path) -> Result<String, String> {
    let in_file = |what: &str| format!("{}: {what}", file.display());
    let bytes = fs::read(file).map_err(|error| in_file(&describe(&error)))?;
    String::from_utf8(bytes).map_err(|_| in_file("expected text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_described_without_its_number_and_names_keep_their_capitals() {
        let of = |errno: Errno| describe(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(of(Errno::ECONNREFUSED), "connection refused");
        assert_eq!(of(Errno::EADDRINUSE), "address already in use");
        assert_eq!(describe(&io::ErrorKind::TimedOut.into()), "timed out");
        assert_eq!(describe(&io::Error::other("DNS is down")), "DNS is down");
    }
}
