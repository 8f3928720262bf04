//! Every framing gives the same messages for any bytes in any pieces as a simple model for the
//! whole. The first byte chooses the framing and its options, the next two the sizes of the pieces.

#![no_main]

use echogate_proto::{
    framing::{Framer, Framing, FramingError, FramingOptions, InvalidText, MIN_CHUNK, Rest},
    ws::OpCode,
};
use libfuzzer_sys::fuzz_target;

/// Whether a message is text, and its payload.
type Message = (bool, Vec<u8>);

fuzz_target!(|input: (u8, [u8; 2], &[u8])| {
    let (choice, sizes, bytes) = input;
    let invalid = [InvalidText::Close, InvalidText::Replace, InvalidText::Binary];
    let invalid = invalid[usize::from(choice >> 4) % 3];
    let framings =
        [Framing::Bytes, Framing::Text, Framing::Line, Framing::Message, Framing::Length];
    let framing = framings[usize::from(choice) % 5];
    // The other framings have no such option.
    let invalid = if framing.is_text() { invalid } else { InvalidText::Close };
    let prefix = if choice & 0x80 == 0 { 2 } else { 4 };
    let options = FramingOptions { chunk: MIN_CHUNK, prefix, invalid, ..FramingOptions::default() };
    let framer = Framer::with_options(framing, &options);
    let sizes = sizes.map(|size| usize::from(size) + 1);
    match framing {
        Framing::Message => replies(framer, sizes, bytes),
        Framing::Line => lines(framer, sizes, invalid, bytes),
        Framing::Length => records(framer, sizes, prefix.into(), bytes),
        Framing::Bytes | Framing::Text => stream(framer, sizes, invalid, bytes),
        Framing::Datagrams => {}
    }
});

/// Framing `bytes` and `text`: no byte is lost, and no message is larger than the chunk.
fn stream(framer: Framer, sizes: [usize; 2], invalid: InvalidText, bytes: &[u8]) {
    let is_text = framer.framing() == Framing::Text;
    let result = run(framer, sizes, bytes);
    if is_text && invalid == InvalidText::Close && std::str::from_utf8(bytes).is_err() {
        assert_eq!(result, Err(FramingError::InvalidUtf8));
        return;
    }
    let messages = result.unwrap();
    let all: Vec<u8> = messages.iter().flat_map(|(_, payload)| payload).copied().collect();
    if is_text && invalid == InvalidText::Replace {
        assert_eq!(String::from_utf8(all).unwrap(), String::from_utf8_lossy(bytes));
    } else {
        assert_eq!(all, bytes);
    }
    for (text, payload) in messages {
        assert!(!payload.is_empty() && payload.len() <= MIN_CHUNK);
        assert!(!text || (is_text && std::str::from_utf8(&payload).is_ok()));
        assert!(text || !is_text || invalid == InvalidText::Binary);
    }
}

/// Framing `line`: a message is a line.
fn lines(framer: Framer, sizes: [usize; 2], invalid: InvalidText, bytes: &[u8]) {
    let result = run(framer, sizes, bytes);
    let lossy = String::from_utf8_lossy(bytes);
    let expected = match invalid {
        InvalidText::Close if std::str::from_utf8(bytes).is_err() => Err(FramingError::InvalidUtf8),
        InvalidText::Replace => Ok(split(lossy.as_bytes())),
        InvalidText::Close | InvalidText::Binary => Ok(split(bytes)),
    };
    assert_eq!(result, expected);
}

fn split(bytes: &[u8]) -> Vec<Message> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').map(|line| {
        let ended = line.strip_suffix(b"\n");
        let line = ended.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        (std::str::from_utf8(line).is_ok(), line.to_vec())
    });
    lines.collect()
}

/// Framing `length`: a message is a record.
fn records(framer: Framer, sizes: [usize; 2], prefix: usize, bytes: &[u8]) {
    let (mut expected, mut rest) = (Vec::new(), bytes);
    while let Some((length, behind)) = rest.split_at_checked(prefix) {
        let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        expected.push((false, payload.to_vec()));
        rest = behind;
    }
    let expected = if rest.is_empty() { Ok(expected) } else { Err(FramingError::RecordCut) };
    assert_eq!(run(framer, sizes, bytes), expected);
}

/// Framing `message`: the first bytes are the lengths of messages, each of which gets its reply.
fn replies(mut framer: Framer, sizes: [usize; 2], bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let Some((lens, mut bytes)) = bytes.split_at_checked(usize::from(count % 8)) else { return };
    let input = bytes;
    let mut expected = Ok(Vec::new());
    for len in lens {
        let (text, len) = (len & 1 == 1, usize::from(len / 2));
        framer.expect(if text { OpCode::Text } else { OpCode::Binary }, true, len as u64);
        if let Ok(messages) = &mut expected {
            let (reply, rest) = bytes.split_at(len.min(bytes.len()));
            bytes = rest;
            let valid = std::str::from_utf8(reply);
            if text && valid.is_err_and(|e| e.error_len().is_some() || reply.len() == len) {
                expected = Err(FramingError::InvalidUtf8);
            } else if reply.len() < len {
                let cut = text && valid.is_err();
                expected =
                    Err(if cut { FramingError::InvalidUtf8 } else { FramingError::ReplyMissing });
            } else {
                messages.push((text, reply.to_vec()));
            }
        }
    }
    if expected.is_ok() && !bytes.is_empty() {
        expected = Err(FramingError::NotAsked);
    }
    assert_eq!(run(framer, sizes, input), expected);
}

/// The messages of a framer for `bytes` in pieces of two alternating sizes: bytes that it does not
/// consume are passed again with the next piece.
fn run(mut framer: Framer, sizes: [usize; 2], bytes: &[u8]) -> Result<Vec<Message>, FramingError> {
    let (mut out, mut held, mut rest) = (Vec::new(), Vec::new(), bytes);
    for size in sizes.into_iter().cycle() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        let replaced =
            if framer.replaces_invalid() { framer.replace_invalid(piece, 0) } else { None };
        held.extend_from_slice(replaced.as_deref().unwrap_or(piece));
        let mut at = 0;
        while let Some(next) = framer.next(&held[at..], Rest::Wait)? {
            next.head.append_to(&mut out);
            out.extend_from_slice(&held[at..][next.payload]);
            at += next.taken;
        }
        // A reply may go out in parts.
        if size % 3 == 0
            && let Some(next) = framer.next(&held[at..], Rest::Send)?
        {
            next.head.append_to(&mut out);
            out.extend_from_slice(&held[at..][next.payload]);
            at += next.taken;
        }
        held.drain(..at);
        if rest.is_empty() {
            break;
        }
    }
    if let Some(last) = framer.next(&held, Rest::Last)? {
        last.head.append_to(&mut out);
        out.extend_from_slice(&held[last.payload]);
        held.drain(..last.taken);
    }
    if let Some(last) = framer.finish()? {
        assert!(held.is_empty(), "all input is taken");
        out.extend_from_slice(last.head.as_bytes());
    }
    Ok(messages(&out))
}

/// The messages in a server's frames of less than 64 KiB.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let (mut all, mut open): (Vec<Message>, bool) = (Vec::new(), false);
    while let [first, second, rest @ ..] = bytes {
        let (len, at) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            len => (usize::from(*len), 0),
        };
        let payload = &rest[at..at + len];
        match all.last_mut().filter(|_| open) {
            Some((_, message)) => {
                assert_eq!(first & 0xf, 0, "a continuation");
                message.extend_from_slice(payload);
            }
            None => all.push((first & 0xf == 1, payload.to_vec())),
        }
        open = first & 0x80 == 0;
        bytes = &rest[at + len..];
    }
    assert!(bytes.is_empty() && !open, "whole messages");
    all
}
