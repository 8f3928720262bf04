//! A client of `chat`.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_proto::operator::{BYE, Ending};
use tokio::sync::mpsc::Receiver;

use super::hub::{Heard, Hub, ToClient};
use crate::{
    connection::End,
    escape,
    registry::Peer,
    service::{Dialogue, Flow, Request},
};

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 4096;

/// One client's conversation. The server's own words begin with a star.
#[derive(Debug)]
pub(crate) struct Client {
    hub: Arc<Hub>,
    id: u64,
    told: Receiver<ToClient>,
    /// It knows that its messages wait.
    knows: bool,
    ended: bool,
}

impl Client {
    pub(crate) fn new(hub: &Arc<Hub>, peer: &Peer) -> Client {
        let (id, told) = hub.open(peer);
        Client { hub: hub.clone(), id, told, knows: false, ended: false }
    }

    fn end(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            self.hub.end(self.id, ending);
        }
    }
}

impl Dialogue for Client {
    fn max_request(&self) -> usize {
        MAX_MESSAGE
    }

    fn hear(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> Flow {
        let text = escape::bytes(request.bytes);
        if request.too_long {
            let notice =
                format!("* a message has at most {MAX_MESSAGE} bytes; this one was not sent\n");
            out.extend(notice.bytes());
        } else if text.trim() == BYE {
            self.end(Ending::Client);
            return Flow::Over;
        } else if !text.trim().is_empty() {
            match self.hub.client_says(self.id, text) {
                Heard::Now => self.knows = false,
                Heard::Later if !std::mem::replace(&mut self.knows, true) => {
                    out.extend(b"* no operator is here yet; your message waits\n");
                }
                Heard::Later => {}
                Heard::Never => out.extend(b"* too many messages wait; this one was not kept\n"),
            }
        }
        Flow::Goes
    }

    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Flow> {
        match ready!(self.told.poll_recv(cx)) {
            Some(ToClient::Line(line)) => {
                out.extend(line.bytes());
                out.push(b'\n');
                Poll::Ready(Flow::Answered)
            }
            Some(ToClient::Bye) => {
                out.extend(BYE.bytes());
                out.push(b'\n');
                Poll::Ready(Flow::Over)
            }
            None => Poll::Ready(Flow::Over),
        }
    }

    fn ended(&mut self, how: &io::Result<End>) {
        self.end(match how {
            Err(_) => Ending::Vanished,
            Ok(End::EndOfInput) => Ending::Left,
            Ok(_) => Ending::Server,
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end(Ending::Server);
    }
}
