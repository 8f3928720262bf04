//! The ends of a WebSocket: the peer's Close, and messages that end a connection.

use std::io;

use echogate_proto::{
    close::CloseCode,
    ws::{Decoder, Event, Violation},
};
use thiserror::Error;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{End, PeerRole, Received};
use crate::text::escape::escape;

/// A Close frame from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Close {
    /// The code, if there is one.
    code: Option<CloseCode>,
    reason: String,
}

impl Close {
    /// The Close frame of `event`, the latest result of `decoder`, if it is one. A frame whose code
    /// must not be sent counts as well.
    pub(in crate::client) fn received(
        event: &Result<Option<Event>, Violation>,
        decoder: &Decoder,
    ) -> Option<Close> {
        let (code, reason) = match event {
            Ok(Some(Event::Close(CloseCode::NO_STATUS))) => (None, &[][..]),
            Ok(Some(Event::Close(code))) => (Some(*code), decoder.control_payload()),
            Err(Violation::BadCloseCode(code)) => {
                (Some(CloseCode(*code)), decoder.control_payload().get(2..).unwrap_or_default())
            }
            _ => return None,
        };
        Some(Close { code, reason: String::from_utf8_lossy(reason).into_owned() })
    }

    /// The regular end, or the failure, that the code stands for. `local` is the code of the local
    /// Close, which the peer answers with the same code.
    pub(super) fn into_end(self, by: PeerRole, local: Option<CloseCode>) -> io::Result<Received> {
        let regular = [None, Some(CloseCode::NORMAL), Some(CloseCode::GOING_AWAY), local];
        if !regular.contains(&self.code) {
            return Err(io::Error::other(self.describe(by)));
        }
        let answer = self.code.unwrap_or(CloseCode::NO_STATUS).0;
        let description = match local {
            Some(local) => format!("closed ({}); the {by} answered {answer}", local.0),
            None => self.describe(by),
        };
        Ok(Received::End(End { description, may_read: false }))
    }

    /// The description of a Close that the peer in the role `by` has sent.
    pub(in crate::client) fn describe(&self, by: PeerRole) -> String {
        let mut text = match self.code {
            Some(code) if !code.may_be_sent() => {
                format!("the {by} sent close code {}, which must not be sent", code.0)
            }
            code => {
                let code = code.unwrap_or(CloseCode::NO_STATUS);
                format!("closed by the {by} ({}, {})", code.0, code.description())
            }
        };
        if !self.reason.is_empty() {
            text += &format!(": {}", escape(&self.reason));
        }
        text
    }
}

impl From<Option<CloseFrame>> for Close {
    fn from(frame: Option<CloseFrame>) -> Close {
        match frame {
            Some(CloseFrame { code, reason }) => {
                Close { code: Some(CloseCode(code.into())), reason: reason.as_str().to_owned() }
            }
            None => Close { code: None, reason: String::new() },
        }
    }
}

/// The error of a connection that ended without a Close.
pub(in crate::client) fn abnormal_closure() -> io::Error {
    let code = CloseCode::ABNORMAL;
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} ({})", code.description(), code.0))
}

/// A message that the peer must not send, in an [`io::Error`].
#[derive(Debug, Error)]
pub(in crate::client) enum MessageError {
    #[error("a message of {size} bytes exceeds the limit of {limit} bytes")]
    TooBig { size: usize, limit: usize },
    #[error("{0}")]
    Violation(String),
}

impl MessageError {
    /// The [`MessageError`] in `error`, if there is one.
    pub(in crate::client) fn of(error: &io::Error) -> Option<&MessageError> {
        error.get_ref()?.downcast_ref()
    }

    /// The close code for the peer.
    pub(in crate::client) fn close_code(&self) -> CloseCode {
        match self {
            MessageError::TooBig { .. } => CloseCode::TOO_BIG,
            MessageError::Violation(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}
