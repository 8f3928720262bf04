//! Bytes as text for other programs.

use echogate_proto::hex;

use crate::{base64, payload::Payload};

/// A form in which a message is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text, if the message is text.
    Text,
    /// Hexadecimal digits.
    Hex,
    /// Base64.
    Base64,
    /// The initializer of an array in C.
    C,
    /// A literal of bytes in Python.
    Python,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 5] = [Form::Text, Form::Hex, Form::Base64, Form::C, Form::Python];

    /// The form's name in program text.
    pub fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Hex => "hex",
            Form::Base64 => "base64",
            Form::C => "c",
            Form::Python => "python",
        }
    }

    /// A message in this form; `None` if it cannot be written so.
    pub fn write(self, payload: &Payload) -> Option<String> {
        let bytes = payload.bytes();
        Some(match self {
            Form::Text => payload.as_text()?.to_owned(),
            Form::Hex => hex::encode(bytes),
            Form::Base64 => base64::encode(bytes),
            Form::C => c(bytes),
            Form::Python => python(bytes),
        })
    }
}

fn c(bytes: &[u8]) -> String {
    let mut text = String::from("{");
    for (at, byte) in bytes.iter().enumerate() {
        text.push_str(if at == 0 { " 0x" } else { ", 0x" });
        text.extend(hex::pair(*byte));
    }
    text.push_str(" }");
    text
}

fn python(bytes: &[u8]) -> String {
    let mut text = String::from("b\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => escape(*byte, &mut text),
        }
    }
    text.push('"');
    text
}

/// Appends the escape sequence of a byte, as Python and the composer read it.
pub fn escape(byte: u8, to: &mut String) {
    match byte {
        b'\n' => to.push_str("\\n"),
        b'\r' => to.push_str("\\r"),
        b'\t' => to.push_str("\\t"),
        byte => {
            to.push_str("\\x");
            to.extend(hex::pair(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_in_each_form() {
        let payload = Payload::from(b"a\"\\\r\n\0\xff".to_vec());
        let forms = Form::ALL.map(|form| form.write(&payload));
        let forms = forms.each_ref().map(Option::as_deref);
        assert_eq!(
            forms,
            [
                None,
                Some("61 22 5c 0d 0a 00 ff"),
                Some("YSJcDQoA/w=="),
                Some("{ 0x61, 0x22, 0x5c, 0x0d, 0x0a, 0x00, 0xff }"),
                Some(r#"b"a\"\\\r\n\x00\xff""#),
            ]
        );
        assert_eq!(Form::Text.write(&b"bytes".to_vec().into()).as_deref(), Some("bytes"));
        assert_eq!(Form::C.write(&"".into()).as_deref(), Some("{ }"));
    }
}
