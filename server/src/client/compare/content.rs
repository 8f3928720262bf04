//! The content of one direction of a connection, without the ignored parts.

use std::borrow::Cow;

use echogate_proto::recording::Direction;
use regex::bytes::Regex;
use serde::Serialize;

use crate::recording::model::{Action, RecordedConnection, Traffic};

/// The payload of one direction.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// A stream, without the boundaries of its reads.
    Bytes(FilteredPayload<'a>),
    /// Messages or datagrams.
    Messages(Vec<Message<'a>>),
}

/// A message or a datagram.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: &'static str,
    pub(super) payload: FilteredPayload<'a>,
}

/// Bytes without the ignored parts.
#[derive(Debug)]
pub(super) struct FilteredPayload<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The removed parts: the offset in `bytes` at which each one was, and its length.
    removed: Vec<(usize, usize)>,
}

/// The end of a direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DirectionEnd {
    EndOfInput,
    Reset,
    Close { code: Option<u16>, reason: String },
}

impl<'a> Content<'a> {
    /// The content of a direction. With `as_bytes`, messages are joined.
    pub(super) fn of(
        connection: &'a RecordedConnection,
        direction: Direction,
        as_bytes: bool,
        ignored: &[Regex],
    ) -> Content<'a> {
        let actions = connection.of(direction).map(|event| &event.action);
        if as_bytes || connection.traffic == Traffic::Bytes {
            let parts: Vec<&[u8]> =
                actions.filter_map(Action::payload).map(|payload| &payload[..]).collect();
            return Content::Bytes(FilteredPayload::new(parts.concat().into(), ignored));
        }
        let messages = actions.filter_map(|action| {
            let kind = match action {
                Action::Message { is_text: true, .. } => "text",
                Action::Message { is_text: false, .. } => "binary",
                _ => "datagram",
            };
            let payload = FilteredPayload::new(action.payload()?[..].into(), ignored);
            Some(Message { kind, payload })
        });
        Content::Messages(messages.collect())
    }
}

impl DirectionEnd {
    /// The end of a direction, if it is recorded.
    pub(super) fn of(
        connection: &RecordedConnection,
        direction: Direction,
    ) -> Option<DirectionEnd> {
        connection.of(direction).find_map(|event| match &event.action {
            Action::End => Some(DirectionEnd::EndOfInput),
            Action::Reset => Some(DirectionEnd::Reset),
            Action::Close { code, reason } => {
                Some(DirectionEnd::Close { code: *code, reason: reason.clone() })
            }
            _ => None,
        })
    }
}

impl<'a> FilteredPayload<'a> {
    pub(super) fn new(bytes: Cow<'a, [u8]>, ignored: &[Regex]) -> FilteredPayload<'a> {
        let mut ranges: Vec<_> = ignored
            .iter()
            .flat_map(|pattern| pattern.find_iter(&bytes).map(|found| found.range()))
            .filter(|range| !range.is_empty())
            .collect();
        if ranges.is_empty() {
            return FilteredPayload { bytes, removed: Vec::new() };
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let (mut kept, mut removed, mut end) = (Vec::new(), Vec::new(), 0);
        for range in ranges {
            // Matches of different patterns may overlap.
            let start = range.start.max(end);
            if range.end <= start {
                continue;
            }
            kept.extend(&bytes[end..start]);
            removed.push((kept.len(), range.end - start));
            end = range.end;
        }
        kept.extend(&bytes[end..]);
        FilteredPayload { bytes: kept.into(), removed }
    }

    /// The offset in the original bytes of the kept byte at `offset`.
    pub(super) fn original(&self, offset: usize) -> usize {
        let before = self.removed.iter().take_while(|(at, _)| *at <= offset);
        offset + before.map(|(_, length)| length).sum::<usize>()
    }
}
