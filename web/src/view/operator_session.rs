//! The operator's connection to the `chat` service.

use echogate_proto::{
    chat::{BYE, FromOperator},
    close::CloseCode,
};

use super::{
    browser,
    dispatch::{Message, dispatch},
    socket::{Socket, SocketEvent},
};
use crate::{
    close_reason::{CloseReason, Outcome},
    i18n::{self, Texts},
    operator::Operator,
    payload::Payload,
    session::Event,
    wire,
};

const PATH: &str = "/ws/operator";

/// An operator with a socket and forms.
#[derive(Default)]
pub(super) struct OperatorSession {
    pub(super) operator: Operator,
    socket: Option<Socket>,
    pub(super) token: String,
    pub(super) answer: String,
    /// A number that rises with each change that the panel has to draw.
    pub(super) version: u64,
}

impl OperatorSession {
    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Signs in, or signs out while there is a connection.
    pub(super) fn toggle(&mut self) {
        self.version += 1;
        if self.socket.take().is_some() {
            return self.operator.sign_out();
        }
        self.operator.signing_in();
        let url = browser::location().url_of(PATH);
        let handler = |event, _| match event {
            SocketEvent::Session(event) => dispatch(Message::Operator(event)),
            SocketEvent::File(_) | SocketEvent::Tap(_) => {}
        };
        self.socket = Some(Socket::open(&url, &[], handler));
    }

    /// Sends the typed answer to the chosen conversation.
    pub(super) fn send_answer(&mut self) {
        let text = std::mem::take(&mut self.answer);
        self.say(&text);
    }

    /// Ends the chosen conversation.
    pub(super) fn end_chat(&mut self) {
        self.say(BYE);
    }

    pub(super) fn choose(&mut self, id: u64) {
        self.version += 1;
        self.operator.choose(id);
    }

    /// Handles an event of the socket.
    pub(super) fn on_event(&mut self, event: Event, texts: &Texts) {
        self.version += 1;
        match event {
            Event::Opened { .. } => self.send(&FromOperator::Token { token: self.token.clone() }),
            Event::Received(Payload::Text(text)) => {
                if let Some(message) = wire::to_operator(&text) {
                    self.operator.apply(message);
                }
            }
            Event::Ended { code, reason, clean } => {
                let outcome = if clean { Outcome::ClosedByPeer } else { Outcome::Lost };
                let url = browser::location().url_of(PATH);
                let close_reason =
                    CloseReason { outcome, url, code, reason, unsent: 0, unanswered: 0 };
                let advice = i18n::advice(texts, code);
                let sentence = format!("{} {advice}", close_reason.sentences(texts));
                // Through a route the service's refusal may arrive as the end of its stream.
                let refused = matches!(code, CloseCode::POLICY | CloseCode::NORMAL);
                self.operator.ended(refused, sentence);
                self.socket = None;
            }
            Event::Rejected(error) => {
                self.operator.ended(false, error);
                self.socket = None;
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        self.version += 1;
        if let Some(message) = self.operator.say(text) {
            self.send(&message);
        }
    }

    fn send(&self, message: &FromOperator) {
        let text = wire::from_operator(message);
        if let Some(socket) = &self.socket {
            socket.send(&Payload::from(text.as_str()));
        }
    }
}
