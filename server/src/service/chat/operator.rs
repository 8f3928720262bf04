//! An operator who speaks JSON lines: the service behind `/ws/operator`.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_proto::chat::{FromOperator, ToOperator};

use super::{delivery::MAX_LINE, hub::Hub};
use crate::{
    connections::registry::Peer,
    service::{
        end::End,
        line_reader::Request,
        lines::{LineOutcome, LineService},
    },
};

/// One operator's connection.
#[derive(Debug)]
pub(crate) struct Operator {
    hub: Arc<Hub>,
    peer: Peer,
    /// The operator's number, once it has presented the token.
    id: Option<u64>,
}

impl Operator {
    pub(crate) fn new(hub: &Arc<Hub>, peer: Peer) -> Operator {
        Operator { hub: hub.clone(), peer, id: None }
    }

    /// Executes a request. Returns its answer, if there is one.
    ///
    /// # Errors
    ///
    /// The reason why the request is invalid or has failed, in one line.
    fn execute(&mut self, line: &[u8]) -> Result<Option<ToOperator>, String> {
        let request: FromOperator =
            serde_json::from_slice(line).map_err(|e| format!("invalid request: {e}"))?;
        match (request, self.id) {
            (FromOperator::Say { conversation, text }, Some(id)) => {
                self.hub.operator_says(id, conversation, &text).map(|()| None)
            }
            (FromOperator::Token { .. }, Some(_)) => Err("already authenticated".to_owned()),
            (FromOperator::Token { token }, None) if self.hub.token().matches(&token) => {
                let (operator, conversations) = self.hub.add_operator();
                self.id = Some(operator);
                tracing::info!(operator, peer = self.peer.to_string(), "operator connected");
                Ok(Some(ToOperator::Welcome { operator, conversations }))
            }
            (FromOperator::Token { .. }, None) => Err("wrong operator token".to_owned()),
            (FromOperator::Say { .. }, None) => {
                Err("not authenticated: send the operator token first".to_owned())
            }
        }
    }
}

impl LineService for Operator {
    fn max_request(&self) -> usize {
        MAX_LINE
    }

    /// Closes the connection if its first request does not present the token.
    fn on_line(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> LineOutcome {
        let answer = match request.too_long {
            true => Err(format!("line too long (limit: {MAX_LINE} bytes)")),
            false => self.execute(request.bytes),
        };
        let outcome = if self.id.is_some() { LineOutcome::Continue } else { LineOutcome::Close };
        if outcome == LineOutcome::Close {
            tracing::warn!(peer = self.peer.to_string(), "operator authentication failed");
        }
        if let Some(answer) = answer.unwrap_or_else(|text| Some(ToOperator::Error { text })) {
            push_line(out, &answer);
        }
        outcome
    }

    fn poll_push(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<LineOutcome> {
        let Some(id) = self.id else { return Poll::Pending };
        match ready!(self.hub.poll_event(id, cx)) {
            Some(event) => {
                push_line(out, &event.message);
                Poll::Ready(LineOutcome::Continue)
            }
            None => {
                let text = "disconnected: events are not read fast enough".to_owned();
                push_line(out, &ToOperator::Error { text });
                Poll::Ready(LineOutcome::Close)
            }
        }
    }

    fn ended(&mut self, _: &io::Result<End>) {
        if let Some(id) = self.id.take() {
            self.hub.remove_operator(id);
            tracing::info!(operator = id, "operator disconnected");
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.hub.remove_operator(id);
        }
    }
}

fn push_line(out: &mut Vec<u8>, event: &ToOperator) {
    serde_json::to_writer(&mut *out, event).expect("numbers and strings can be written as JSON");
    out.push(b'\n');
}
