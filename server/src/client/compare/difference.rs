//! The first difference of the contents of two directions.

use echogate_proto::recording::{Direction, Payload};
use serde::Serialize;

use super::content::{Content, DirectionEnd, FilteredPayload, Message};

/// The most bytes before a difference that are shown.
const BEFORE: usize = 16;

/// The most bytes from a difference on that are shown.
const AFTER: usize = 32;

/// The first difference in a direction.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) direction: Direction,
    /// The number of the message or datagram, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<u64>,
    /// The number of bytes before the difference, in the message or in the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    pub(super) a: Shown,
    pub(super) b: Shown,
}

/// A side of a difference.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shown {
    /// Nothing more was sent.
    Nothing,
    /// The bytes around the difference.
    Excerpt(Excerpt),
    /// The end of the direction.
    End(DirectionEnd),
}

/// The bytes around a difference.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Excerpt {
    /// `text` or `binary` of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// The number of bytes of the excerpt before the difference.
    pub(super) before: usize,
    /// Whether more bytes precede the excerpt, and whether more follow.
    pub(super) cut: [bool; 2],
    #[serde(flatten)]
    pub(super) payload: Payload,
}

/// The first difference of two contents.
pub(super) fn find(direction: Direction, a: &Content<'_>, b: &Content<'_>) -> Option<Difference> {
    match (a, b) {
        (Content::Bytes(a), Content::Bytes(b)) => {
            let at = first(&a.bytes, &b.bytes)?;
            let [a_shown, b_shown] = [shown(a, at, None), shown(b, at, None)];
            let longer = if a.bytes.len() > at { a } else { b };
            let offset = Some(longer.original(at) as u64);
            Some(Difference { direction, message: None, offset, a: a_shown, b: b_shown })
        }
        (Content::Messages(a), Content::Messages(b)) => messages(direction, a, b),
        _ => unreachable!("both contents are of the same kind"),
    }
}

/// The difference of two ends of a direction. An end that is not recorded is not different.
pub(super) fn of_ends(
    direction: Direction,
    a: Option<DirectionEnd>,
    b: Option<DirectionEnd>,
) -> Option<Difference> {
    let (a, b) = (a?, b?);
    (a != b).then_some(Difference {
        direction,
        message: None,
        offset: None,
        a: Shown::End(a),
        b: Shown::End(b),
    })
}

fn messages(direction: Direction, a: &[Message<'_>], b: &[Message<'_>]) -> Option<Difference> {
    let position = (0..a.len().max(b.len())).find(|&index| match (a.get(index), b.get(index)) {
        (Some(a), Some(b)) => a.kind != b.kind || a.payload.bytes != b.payload.bytes,
        _ => true,
    })?;
    let (a, b) = (a.get(position), b.get(position));
    let (at, offset) = match (a, b) {
        (Some(a), Some(b)) => {
            let at = first(&a.payload.bytes, &b.payload.bytes);
            let longer = |at| if a.payload.bytes.len() > at { a } else { b };
            (at.unwrap_or(0), at.map(|at| longer(at).payload.original(at) as u64))
        }
        _ => (0, None),
    };
    let side = |message: Option<&Message<'_>>| match message {
        Some(message) => {
            let kind = Some(message.kind).filter(|kind| *kind != "datagram");
            Shown::Excerpt(excerpt(&message.payload.bytes, at, kind))
        }
        None => Shown::Nothing,
    };
    let message = Some(position as u64 + 1);
    Some(Difference { direction, message, offset, a: side(a), b: side(b) })
}

/// The first position at which two byte strings differ.
fn first(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (common < a.len() || common < b.len()).then_some(common)
}

fn shown(kept: &FilteredPayload<'_>, at: usize, kind: Option<&'static str>) -> Shown {
    match kept.bytes.len() > at {
        true => Shown::Excerpt(excerpt(&kept.bytes, at, kind)),
        false => Shown::Nothing,
    }
}

fn excerpt(bytes: &[u8], at: usize, kind: Option<&'static str>) -> Excerpt {
    let at = at.min(bytes.len());
    // A UTF-8 character is not cut.
    let is_boundary = |index: usize| bytes.get(index).is_none_or(|byte| byte & 0xc0 != 0x80);
    let mut start = at.saturating_sub(BEFORE);
    while start < at && !is_boundary(start) {
        start += 1;
    }
    let mut end = (at + AFTER).min(bytes.len());
    while end > at && !is_boundary(end) {
        end -= 1;
    }
    let cut = [start > 0, end < bytes.len()];
    Excerpt { kind, before: at - start, cut, payload: bytes[start..end].into() }
}
