//! The commands of a prompt over WebSocket: control frames.

use bytes::Bytes;
use echogate_proto::{
    close::CloseCode,
    ws::frame::{MAX_CONTROL, MAX_REASON},
};

use super::source::Message;
use crate::text::{escape::escape, suggest::suggestion};

const COMMANDS: [&str; 3] = ["/ping", "/pong", "/close"];

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TypedLine {
    /// A control frame to send.
    Command(Message),
    /// The text of a message.
    Text(String),
}

/// Parses a typed line: the commands `/ping [TEXT]`, `/pong [TEXT]` and `/close [CODE [REASON]]`,
/// or a message. `//TEXT` is the message `/TEXT`.
///
/// # Errors
///
/// The reason why the command is invalid.
pub(super) fn parse(line: &str) -> Result<TypedLine, String> {
    let text = match line.strip_prefix('/') {
        Some(text) if text.starts_with('/') => Some(text),
        Some(_) => None,
        None => Some(line),
    };
    match text {
        Some(text) => Ok(TypedLine::Text(text.to_owned())),
        None => parse_command(line).map(TypedLine::Command),
    }
}

fn parse_command(line: &str) -> Result<Message, String> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let payload = || match rest.len() {
        0..=MAX_CONTROL => Ok(Bytes::from(rest.to_owned())),
        len => Err(format!("{command}: {len} bytes: a control frame has at most {MAX_CONTROL}")),
    };
    match command {
        "/ping" => payload().map(Message::Ping),
        "/pong" => payload().map(Message::Pong),
        "/close" => parse_close(rest.trim()),
        unknown => Err(format!(
            "unknown command \"{}\": expected /ping, /pong or /close; // begins a message with a \
             slash{}",
            escape(unknown),
            suggestion(unknown, COMMANDS)
        )),
    }
}

fn parse_close(arguments: &str) -> Result<Message, String> {
    if arguments.is_empty() {
        return Ok(Message::Close(CloseCode::NORMAL, String::new()));
    }
    let (code, reason) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let code =
        code.parse().map(CloseCode).ok().filter(|code| code.may_be_sent()).ok_or_else(|| {
            format!(
                "/close: \"{}\" is not a code that may be sent: expected {}",
                escape(code),
                CloseCode::SENDABLE
            )
        })?;
    match reason.trim() {
        reason if reason.len() > MAX_REASON => {
            Err(format!("/close: the reason has {} bytes: at most {MAX_REASON}", reason.len()))
        }
        reason => Ok(Message::Close(code, reason.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_begins_a_command_and_two_begin_a_message() {
        let text = |text: &str| TypedLine::Text(text.to_owned());
        let command = TypedLine::Command;
        let close =
            |code, reason: &str| command(Message::Close(CloseCode(code), reason.to_owned()));
        for (line, expected) in [
            ("hello", text("hello")),
            ("//hello", text("/hello")),
            ("///", text("//")),
            ("/ping", command(Message::Ping(Bytes::new()))),
            ("/ping there?", command(Message::Ping("there?".into()))),
            ("/pong  x", command(Message::Pong(" x".into()))),
            ("/close", close(1000, "")),
            ("/close 1001", close(1001, "")),
            ("/close 4321 that is enough", close(4321, "that is enough")),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn an_invalid_command_is_refused_with_the_reason() {
        for (line, complaint) in [
            ("/pin", "unknown command \"/pin\": expected /ping, /pong or /close; "),
            ("/pin", "; did you mean \"/ping\"?"),
            ("/etc/hosts", "// begins a message with a slash"),
            ("/close 1005", "\"1005\" is not a code that may be sent: expected 1000 to 1003"),
            ("/close now", "\"now\" is not a code"),
            (&format!("/ping {}", "x".repeat(126)), "126 bytes: a control frame has at most 125"),
            (&format!("/close 1000 {}", "x".repeat(124)), "the reason has 124 bytes: at most 123"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }
}
