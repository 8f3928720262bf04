//! The wording of I/O errors in messages.

use std::io;

use nix::errno::Errno;

/// Describes an error as half a sentence without its number: `connection refused`, not
/// `Connection refused (os error 111)`.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    // A name (WebSocket) or an abbreviation (DNS) keeps its capitals.
    let is_name = chars.clone().take_while(|c| c.is_alphabetic()).any(char::is_uppercase);
    if is_name { text } else { first.to_lowercase().chain(chars).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_described_without_its_number_and_capitals_of_names_stay() {
        let of = |errno: Errno| describe(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(of(Errno::ECONNREFUSED), "connection refused");
        assert_eq!(of(Errno::EADDRINUSE), "address already in use");
        assert_eq!(describe(&io::ErrorKind::TimedOut.into()), "timed out");
        assert_eq!(describe(&io::Error::other("DNS is down")), "DNS is down");
    }
}
