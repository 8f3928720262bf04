//! The description of the end of a connection, by its states, for the log and the registry.

use std::borrow::Cow;

use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
};

use super::{
    Bridge,
    state::{CloseCause, CloseStage, Disconnect, End, WsIn},
};
use crate::{gateway::failure::with_losses, net::stream::Transport, text::escape::escape};

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Counts bytes of the WebSocket peer as lost.
    pub(super) fn add_undelivered(&mut self, bytes: usize) {
        if bytes > 0 {
            self.closing().undelivered += bytes;
        }
    }

    pub(super) fn undelivered(&self) -> usize {
        self.closing.as_ref().map_or(0, |closing| closing.undelivered)
    }

    pub(super) fn end(&self) -> End {
        let (code, why) = if self.is_ws_client() { self.upstream_end() } else { self.client_end() };
        let unsent = self.closing.as_ref().map_or(0, |closing| closing.unsent_to_ws);
        let losses =
            [(self.undelivered() as u64, self.stream_peer()), (unsent as u64, self.ws_peer())];
        End { code, why: with_losses(why, losses) }
    }

    /// The end of a WebSocket client.
    fn client_end(&self) -> (CloseCode, Cow<'static, str>) {
        match (&self.ws_in, self.pending_close()) {
            (_, Some(close))
                if close.stage == CloseStage::Sent && close.cause != CloseCause::Echo =>
            {
                (close.code, close.reason.clone())
            }
            (WsIn::Closed { code, .. }, _) => {
                (*code, fill(reason::PEER_CLOSED, &[reason::CLIENT]).into())
            }
            (_, Some(close)) => {
                (CloseCode::ABNORMAL, fill(reason::CUT_OFF_AFTER, &[&close.reason]).into())
            }
            (WsIn::Gone(how), None) => (CloseCode::ABNORMAL, how.description(reason::CLIENT)),
            (_, None) => (CloseCode::ABNORMAL, reason::CUT_OFF.into()),
        }
    }

    /// The end of a WebSocket upstream. Its stream client cannot see code and reason of a Close, so
    /// the log has them.
    fn upstream_end(&self) -> (CloseCode, Cow<'static, str>) {
        let close = self.pending_close();
        let sent = close
            .filter(|close| close.stage == CloseStage::Sent && close.cause != CloseCause::Echo);
        match (&self.ws_in, sent, close) {
            (_, None, Some(close)) if close.stage == CloseStage::Reset => {
                (close.code, close.reason.clone())
            }
            (_, Some(sent), _) if sent.cause == CloseCause::Violation => {
                (sent.code, fill(reason::PEER_VIOLATED, &[reason::UPSTREAM, &sent.reason]).into())
            }
            (WsIn::Closed { code, .. }, Some(sent), _)
                if *code == sent.code || self.is_complete(*code) =>
            {
                (sent.code, sent.reason.clone())
            }
            (WsIn::Closed { code, .. }, ..) => {
                let given = String::from_utf8_lossy(self.decoder.control_payload());
                let template =
                    if given.is_empty() { reason::PEER_CLOSED } else { reason::PEER_CLOSED_WITH };
                (*code, fill(template, &[reason::UPSTREAM, &escape(&given)]).into())
            }
            (WsIn::Gone(how), Some(sent), _) => {
                let how = how.description(reason::UPSTREAM);
                (CloseCode::ABNORMAL, fill(reason::AND, &[&sent.reason, &how]).into())
            }
            (WsIn::Gone(how), ..) => (CloseCode::ABNORMAL, how.description(reason::UPSTREAM)),
            (_, _, Some(close)) => {
                (CloseCode::ABNORMAL, fill(reason::CUT_OFF_AFTER, &[&close.reason]).into())
            }
            (_, _, None) => (CloseCode::ABNORMAL, reason::CUT_OFF.into()),
        }
    }

    /// Whether an upstream that closed with `code` declares its output complete: the code is that of an
    /// end in order, and so is the code of the Close that it answers, if it answers one.
    pub(super) fn is_complete(&self, code: CloseCode) -> bool {
        let in_order =
            |code| matches!(code, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS);
        in_order(code) && self.pending_close().is_none_or(|close| in_order(close.code))
    }
}

impl Disconnect {
    /// The description of the end of `peer`.
    pub(super) fn description(self, peer: &str) -> Cow<'static, str> {
        match self {
            Disconnect::WithoutClose => fill(reason::PEER_LEFT, &[peer]).into(),
            Disconnect::Failed => fill(reason::PEER_DISCONNECTED, &[peer]).into(),
            Disconnect::NoPong => fill(reason::PEER_SILENT, &[peer]).into(),
            Disconnect::NoCloseReply => reason::CUT_OFF.into(),
        }
    }
}
