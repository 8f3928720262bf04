//! An operator by JSON lines: what `/ws/operator` leads to.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_proto::operator::{FromOperator, ToOperator};

use super::hub::Hub;
use crate::{
    connections::registry::Peer,
    service::{Dialogue, Flow, Request, end::End},
};

/// The longest line, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// One operator; a stranger as long as it has not said the token.
#[derive(Debug)]
pub(crate) struct Operator {
    hub: Arc<Hub>,
    peer: Peer,
    /// Its number, when it has said the token.
    entered: Option<u64>,
}

impl Operator {
    pub(crate) fn new(hub: &Arc<Hub>, peer: Peer) -> Operator {
        Operator { hub: hub.clone(), peer, entered: None }
    }

    /// Does what a line asks for; the answer, if there is one.
    fn obey(&mut self, line: &[u8]) -> Result<Option<ToOperator>, String> {
        let said: FromOperator =
            serde_json::from_slice(line).map_err(|e| format!("not understood: {e}"))?;
        match (said, self.entered) {
            (FromOperator::Say { conversation, text }, Some(id)) => {
                self.hub.operator_says(id, conversation, &text).map(|()| None)
            }
            (FromOperator::Token { .. }, Some(_)) => Err("you are known already".to_owned()),
            (FromOperator::Token { token }, None) if self.hub.token().is(&token) => {
                let (operator, conversations) = self.hub.enter();
                self.entered = Some(operator);
                tracing::info!(operator, peer = self.peer.to_string(), "an operator has come");
                Ok(Some(ToOperator::Welcome { operator, conversations }))
            }
            (FromOperator::Token { .. }, None) => {
                Err("this is not the operators' token".to_owned())
            }
            (FromOperator::Say { .. }, None) => Err("say the token first".to_owned()),
        }
    }
}

impl Dialogue for Operator {
    fn max_request(&self) -> usize {
        MAX_LINE
    }

    /// A stranger who does not know the token is sent away.
    fn hear(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> Flow {
        let answer = match request.too_long {
            true => Err(format!("a line has at most {MAX_LINE} bytes")),
            false => self.obey(request.bytes),
        };
        let flow = if self.entered.is_some() { Flow::Goes } else { Flow::Over };
        if flow == Flow::Over {
            tracing::warn!(peer = self.peer.to_string(), "an operator without the token");
        }
        if let Some(answer) = answer.unwrap_or_else(|text| Some(ToOperator::Error { text })) {
            push_line(out, &answer);
        }
        flow
    }

    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Flow> {
        let Some(id) = self.entered else { return Poll::Pending };
        match ready!(self.hub.poll_event(id, cx)) {
            Some(event) => {
                push_line(out, &event.told);
                Poll::Ready(Flow::Goes)
            }
            None => {
                let text = "you have fallen too far behind".to_owned();
                push_line(out, &ToOperator::Error { text });
                Poll::Ready(Flow::Over)
            }
        }
    }

    fn ended(&mut self, _: &io::Result<End>) {
        if let Some(id) = self.entered.take() {
            self.hub.leave(id);
            tracing::info!(operator = id, "an operator has gone");
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(id) = self.entered {
            self.hub.leave(id);
        }
    }
}

fn push_line(out: &mut Vec<u8>, event: &ToOperator) {
    serde_json::to_writer(&mut *out, event).expect("numbers and texts are JSON");
    out.push(b'\n');
}
