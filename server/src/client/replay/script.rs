//! The script of one end of a recorded connection: its actions, and what the other end has sent
//! before each of them.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use echogate_proto::{
    recording::Direction,
    ws::frame::{FrameHeader, MAX_CONTROL},
};

use crate::recording::model::{Action, RecordedConnection};

/// The script of one end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// The progress of the other end at the end of the recording.
    pub(super) total: Progress,
    /// The most bytes that the other end sends, frame headers included.
    pub(super) total_bytes: u64,
    /// The longest time in which the other end sends nothing.
    pub(super) longest_silence: Duration,
    /// Whether the other end resets the connection.
    pub(super) is_reset_by_peer: bool,
}

/// An action of the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// The time since the beginning of the connection.
    pub(super) at: Duration,
    /// The progress of the other end before this step.
    pub(super) after: Progress,
    pub(super) action: Action,
}

/// The amount that an end has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of a stream, messages or datagrams.
    pub(super) units: u64,
    /// Whether the direction has ended, by a Close, an end of the stream or a reset.
    pub(super) has_ended: bool,
}

impl Progress {
    /// Whether everything up to `other` has been sent.
    pub(super) fn covers(self, other: Progress) -> bool {
        self.units >= other.units && (self.has_ended || !other.has_ended)
    }
}

impl Script {
    /// The script of the end that sends in the direction `own`, without the Pongs that answer a
    /// Ping: the player answers Pings when they come.
    pub(super) fn new(connection: &RecordedConnection, own: Direction) -> Script {
        let (mut progress, mut last, mut longest_silence) = (Progress::default(), 0, 0);
        let (mut pings, mut total_bytes, mut is_reset_by_peer) = (VecDeque::new(), 0, false);
        let mut steps = Vec::new();
        for event in &connection.events {
            let at = event.time.saturating_sub(connection.start);
            if event.direction == own {
                if let Action::Pong(payload) = &event.action
                    && let Some(at) = pings.iter().position(|ping| *ping == payload)
                {
                    pings.drain(..=at);
                    continue;
                }
                let at = Duration::from_nanos(at);
                steps.push(Step { at, after: progress, action: event.action.clone() });
                continue;
            }
            longest_silence = longest_silence.max(at.saturating_sub(last));
            last = at;
            // The masking key has four bytes.
            let payload = event.action.payload().map_or(MAX_CONTROL, Bytes::len);
            total_bytes += (payload + FrameHeader::MAX + 4) as u64;
            progress.units += units(&event.action);
            match &event.action {
                Action::Ping(payload) => pings.push_back(payload),
                Action::Close { .. } | Action::End | Action::Reset => progress.has_ended = true,
                _ => {}
            }
            is_reset_by_peer |= event.action == Action::Reset;
        }
        let longest_silence = Duration::from_nanos(longest_silence);
        Script { steps, total: progress, total_bytes, longest_silence, is_reset_by_peer }
    }
}

/// The amount of payload in an action, as [`Progress::units`] counts it.
pub(super) fn units(action: &Action) -> u64 {
    match action {
        Action::Bytes(bytes) => bytes.len() as u64,
        Action::Datagram(_) | Action::Message { .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::recording::Opened;

    use super::*;
    use crate::recording::model::{TimedEvent, Traffic};

    const UP: Direction = Direction::ToServer;
    const DOWN: Direction = Direction::ToClient;

    fn script(own: Direction, events: &[(Direction, Action)]) -> Vec<(u64, bool, Action)> {
        let events = events.iter().map(|(direction, action)| TimedEvent {
            time: 0,
            direction: *direction,
            action: action.clone(),
        });
        let connection = RecordedConnection {
            number: 1,
            opened: Opened::default(),
            start: 0,
            traffic: Traffic::Messages,
            events: events.collect(),
            defects: Vec::new(),
            refusal: None,
        };
        let steps = Script::new(&connection, own).steps.into_iter();
        steps.map(|step| (step.after.units, step.after.has_ended, step.action)).collect()
    }

    #[test]
    fn each_step_follows_what_the_other_end_had_sent() {
        let message = |text: &'static str| Action::Message { is_text: true, payload: text.into() };
        let close = Action::Close { code: Some(1000), reason: String::new() };
        let events = [
            (UP, message("a")),
            (DOWN, message("b")),
            (DOWN, message("c")),
            (UP, message("d")),
            (DOWN, close.clone()),
            (UP, close.clone()),
        ];
        assert_eq!(
            script(UP, &events),
            [(0, false, message("a")), (2, false, message("d")), (2, true, close.clone())]
        );
        assert_eq!(
            script(DOWN, &events),
            [(1, false, message("b")), (1, false, message("c")), (2, false, close)]
        );
    }

    #[test]
    fn a_pong_that_answers_a_ping_is_no_step() {
        let events = [
            (DOWN, Action::Ping("a".into())),
            (DOWN, Action::Ping("b".into())),
            (UP, Action::Pong("b".into())),
            (UP, Action::Pong("x".into())),
        ];
        assert_eq!(script(UP, &events), [(0, false, Action::Pong("x".into()))]);
    }
}
