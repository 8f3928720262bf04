//! The reason why a connection ended, for machines and as text.

use echogate_proto::{close::CloseCode, reason::NO_ROUTE};

use crate::i18n::{self, Texts, fill};

/// The reason why a connection ended or could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The state that the connection had reached, and the side that ended it.
    pub outcome: Outcome,
    /// The URL of the connection.
    pub url: String,
    /// The status code: of the page's Close frame if the page closed, or else as the browser reports
    /// it.
    pub code: CloseCode,
    /// The reason in that Close frame, often empty. For [`Outcome::Rejected`] the browser's error
    /// message.
    pub reason: String,
    /// Messages that were not handed to the browser.
    pub unsent: usize,
    /// Messages whose reply was outstanding.
    pub unanswered: usize,
}

/// The state that a connection had reached, and the side that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The browser rejected the URL.
    Rejected,
    /// The page cancelled the attempt before the connection was open.
    Cancelled,
    /// The opening handshake failed.
    NotOpened,
    /// The page closed the connection, and the peer answered the Close frame.
    ClosedHere,
    /// The page closed the connection, and no Close frame came back.
    ClosedHereUnanswered,
    /// The peer closed the connection with a Close frame.
    ClosedByPeer,
    /// The connection ended without a Close frame.
    Lost,
}

impl CloseReason {
    /// The path for which the server said that it has no route.
    pub fn missing_route(&self) -> Option<&str> {
        let refused = self.outcome == Outcome::ClosedByPeer && self.code == CloseCode::POLICY;
        self.reason.strip_prefix(NO_ROUTE.strip_suffix("{0}")?).filter(|_| refused)
    }

    /// Whether the end may be a refusal. Servers refuse pages by a Close frame after the opening
    /// handshake, because a page cannot read an HTTP status.
    pub fn may_be_refusal(&self) -> bool {
        let codes = [CloseCode::POLICY, CloseCode::INTERNAL_ERROR, CloseCode::TRY_AGAIN_LATER];
        self.outcome == Outcome::ClosedByPeer && codes.contains(&self.code)
    }

    /// A heading of a few words.
    pub fn headline(&self, texts: &Texts) -> &'static str {
        match self.outcome {
            _ if self.missing_route().is_some() => texts.no_such_route,
            Outcome::Rejected | Outcome::NotOpened => texts.could_not_connect,
            Outcome::Cancelled => texts.cancelled,
            Outcome::ClosedHere | Outcome::ClosedHereUnanswered => texts.disconnected,
            Outcome::ClosedByPeer => texts.closed_by_server,
            Outcome::Lost => texts.connection_lost,
        }
    }

    /// The reason in sentences.
    pub fn sentences(&self, texts: &Texts) -> String {
        let code = self.code.0.to_string();
        if let Some(path) = self.missing_route() {
            return fill(texts.no_route, &[path, &code]);
        }
        let reason = match self.outcome {
            Outcome::ClosedByPeer => texts.reason(&self.reason),
            _ => self.reason.clone(),
        };
        let parts = [i18n::close_code(texts, self.code), &code, &reason, &self.url];
        // Codes of applications have no description of their own: the reason says what they mean.
        let is_private = matches!(self.code.0, 4000..=4999);
        let mut text = match self.outcome {
            Outcome::Rejected => fill(texts.browser_rejected, &parts),
            Outcome::Cancelled => texts.cancelled_before.to_owned(),
            Outcome::NotOpened => fill(texts.no_connection, &parts),
            Outcome::ClosedHere if is_private => fill(texts.you_closed_with, &parts),
            Outcome::ClosedHere => fill(texts.you_disconnected, &parts),
            Outcome::ClosedHereUnanswered => fill(texts.no_close_frame, &parts),
            Outcome::ClosedByPeer if is_private => fill(texts.server_closed_with, &parts),
            Outcome::ClosedByPeer => fill(texts.server_closed, &parts),
            Outcome::Lost => fill(texts.lost_without_close, &parts),
        };
        if !self.reason.is_empty() && self.outcome != Outcome::Rejected {
            text.push_str(&fill(texts.closed_with_reason, &parts));
        }
        if self.unsent > 0 {
            text.push_str(&texts.counted(
                self.unsent as u64,
                texts.one_not_sent,
                texts.many_not_sent,
            ));
        }
        if self.unanswered > 0 {
            let (one, many) = (texts.one_without_reply, texts.many_without_reply);
            text.push_str(&texts.counted(self.unanswered as u64, one, many));
        }
        text
    }

    /// Advice to the user; empty if there is none.
    pub fn advice(&self, texts: &Texts) -> &'static str {
        match self.outcome {
            Outcome::ClosedHere | Outcome::ClosedHereUnanswered | Outcome::Cancelled => "",
            Outcome::Rejected => texts.check_endpoint,
            Outcome::NotOpened if self.url.starts_with("wss:") => texts.check_tls_server,
            Outcome::NotOpened => texts.check_server,
            Outcome::ClosedByPeer if self.missing_route().is_some() => texts.advice_no_route,
            Outcome::ClosedByPeer | Outcome::Lost => i18n::advice(texts, self.code),
        }
    }

    /// Whether the connection ended in order: closed by the user, or by the peer with 1000.
    pub fn is_normal(&self) -> bool {
        match self.outcome {
            Outcome::ClosedHere | Outcome::Cancelled => true,
            Outcome::ClosedByPeer => self.code == CloseCode::NORMAL,
            Outcome::Rejected
            | Outcome::NotOpened
            | Outcome::ClosedHereUnanswered
            | Outcome::Lost => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    const ENGLISH: Language = Language::English;

    fn reason(outcome: Outcome, code: u16) -> CloseReason {
        CloseReason {
            outcome,
            url: "ws://h/ws".to_owned(),
            code: CloseCode(code),
            reason: String::new(),
            unsent: 0,
            unanswered: 0,
        }
    }

    #[test]
    fn a_server_that_sends_a_close_frame_and_one_that_does_not_are_told_apart() {
        let closed = reason(Outcome::ClosedByPeer, 1001);
        assert_eq!(closed.headline(ENGLISH.texts()), "Closed by the server");
        assert_eq!(
            closed.sentences(ENGLISH.texts()),
            "The server closed the connection: the other side is going away (code 1001)."
        );
        let lost = reason(Outcome::Lost, 1006);
        assert_eq!(lost.headline(ENGLISH.texts()), "Connection lost");
        assert_eq!(lost.sentences(ENGLISH.texts()), "Connection lost: no Close frame (code 1006).");
    }

    #[test]
    fn the_text_names_the_reason_and_the_messages_left() {
        let reason = CloseReason {
            reason: "upstream refused".to_owned(),
            unsent: 1,
            unanswered: 12,
            ..reason(Outcome::ClosedByPeer, 1011)
        };
        assert_eq!(
            reason.sentences(ENGLISH.texts()),
            "The server closed the connection: the server or its upstream failed (code \
             1011). Reason: \"upstream refused\". 1 message was not sent. 12 messages got no reply."
        );
    }

    #[test]
    fn a_failed_attempt_names_the_url_and_a_close_of_the_page_its_reason() {
        let failed = reason(Outcome::NotOpened, 1006).sentences(ENGLISH.texts());
        assert!(failed.starts_with("No connection to ws://h/ws: the server is not running"));
        let tls = CloseReason { url: "wss://h/".to_owned(), ..reason(Outcome::NotOpened, 1006) };
        assert!(
            tls.advice(ENGLISH.texts()).contains("TLS"),
            "a server without TLS gets no request"
        );
        let closed =
            CloseReason { reason: "done testing".to_owned(), ..reason(Outcome::ClosedHere, 4000) };
        assert_eq!(
            closed.sentences(ENGLISH.texts()),
            "You disconnected with code 4000. Reason: \"done testing\"."
        );
    }

    #[test]
    fn a_missing_route_and_another_refusal_have_advice_of_their_own() {
        let refused = |text: &str| CloseReason {
            reason: text.to_owned(),
            ..reason(Outcome::ClosedByPeer, 1008)
        };
        let texts = ENGLISH.texts();
        let missing = refused("no such route: /nope");
        assert_eq!(missing.headline(texts), "No such route");
        assert_eq!(missing.sentences(texts), "The server has no route /nope (code 1008).");
        assert!(!missing.advice(texts).contains("--allow-origin"));
        let origin = refused("origin http://b is not allowed");
        assert_eq!(origin.headline(texts), "Closed by the server");
        assert!(origin.advice(texts).contains("--allow-origin"));
        assert!(!origin.advice(texts).contains("--route"));
    }

    #[test]
    fn only_an_end_in_order_is_normal() {
        assert!(reason(Outcome::ClosedHere, 1000).is_normal());
        assert!(reason(Outcome::ClosedByPeer, 1000).is_normal());
        for outcome in
            [Outcome::Rejected, Outcome::NotOpened, Outcome::ClosedHereUnanswered, Outcome::Lost]
        {
            assert!(!reason(outcome, 1006).is_normal(), "{outcome:?}");
        }
        assert!(!reason(Outcome::ClosedByPeer, 1011).is_normal());
    }
}
