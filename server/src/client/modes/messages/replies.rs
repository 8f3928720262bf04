//! The download of the messages mode: replies are received, written and counted.

use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    MessageOptions,
    output::{Formatter, Output, format_time},
    round_trips::RoundTrips,
    source::Message,
};
use crate::client::{
    pending_replies::PendingReplies,
    session::{PeerDirection, SessionError},
    transport::{End, PeerRole, Received, Receiver},
};
use crate::text::escape;

/// The time for the rest of a line to arrive, after which its beginning is written.
const LINE_TIMEOUT: Duration = Duration::from_millis(50);

/// The replies on one connection, and the state that upload and download share.
#[derive(Debug)]
pub(super) struct Replies {
    formatter: RefCell<Formatter>,
    pub(super) pending: PendingReplies,
    pub(super) peer: PeerDirection,
    /// The Pings typed at the prompt.
    pings: RefCell<RoundTrips>,
}

impl Replies {
    /// Creates the state of a new connection.
    pub(super) fn new(options: MessageOptions, peer_role: PeerRole) -> Replies {
        Replies {
            formatter: RefCell::new(Formatter::new(options.format, options.timing)),
            pending: PendingReplies::default(),
            peer: PeerDirection::new(peer_role),
            pings: RefCell::default(),
        }
    }

    /// Counts a message as sent.
    pub(super) fn sent(&self, message: &Message) {
        match message {
            Message::Ping(_) => self.pings.borrow_mut().sent(Instant::now()),
            message if message.is_control() => {}
            _ => {
                self.formatter.borrow_mut().sent(Instant::now());
                self.pending.sent();
            }
        }
    }

    /// Writes the part of a line that is held back.
    pub(super) async fn write_rest(&self, output: &Output) -> Result<(), SessionError> {
        let rest = self.formatter.borrow_mut().rest();
        if rest.is_empty() { Ok(()) } else { output.write(&rest).await }
    }

    /// Writes replies until the peer has ended its direction. Sets `any` when something has been
    /// received.
    pub(super) async fn download(
        &self,
        mut receiver: Receiver,
        output: &Output,
        any: &mut bool,
    ) -> Result<End, SessionError> {
        loop {
            let has_rest = self.formatter.borrow().has_rest();
            let received = if has_rest {
                timeout(LINE_TIMEOUT, receiver.receive()).await.ok()
            } else {
                Some(receiver.receive().await)
            };
            *any |= matches!(received, Some(Ok(Received::Bytes(_) | Received::Message(_))));
            let lines = lines(&received);
            let is_message = matches!(received, Some(Ok(Received::Message(_))));
            let (formatted, end) = self.format(received);
            if !formatted.is_empty() {
                self.pending.while_writing(output.write(&formatted)).await?;
            }
            // Count after writing: the upload may end the session at the last reply.
            match lines {
                _ if is_message => self.pending.received_message(),
                0 => {}
                lines => self.pending.received_lines(lines),
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Formats what has been received, or the rest of a line after a timeout (`None`). Also returns
    /// the end of the download.
    fn format(
        &self,
        received: Option<io::Result<Received>>,
    ) -> (Vec<u8>, Option<Result<End, SessionError>>) {
        let mut formatter = self.formatter.borrow_mut();
        match received {
            // A partial line, such as a prompt of the server.
            None => (formatter.rest(), None),
            Some(Ok(Received::Bytes(bytes))) => (formatter.bytes(&bytes), None),
            Some(Ok(Received::Message(message))) => (formatter.message(&message), None),
            Some(Ok(Received::Pong(payload))) => {
                // A Pong without a Ping (RFC 6455 section 5.5.3) is not shown.
                let time = self.pings.borrow_mut().received(Instant::now());
                let shown = time.map(|time| show_pong(&payload, time));
                (shown.unwrap_or_default().into_bytes(), None)
            }
            Some(Ok(Received::HalfClosed)) => {
                self.peer.set_ended(true);
                (formatter.rest(), None)
            }
            Some(Ok(Received::End(end))) => (formatter.rest(), Some(Ok(end))),
            Some(Err(error)) => (formatter.rest(), Some(Err(SessionError::Connection(error)))),
        }
    }
}

/// A Pong as a line for the terminal.
fn show_pong(payload: &[u8], time: Duration) -> String {
    let text = escape::bytes(payload);
    let text = if text.is_empty() { text } else { format!(" \"{text}\"") };
    format!("pong{text} ({})\n", format_time(time))
}

/// The number of replies in received bytes: the number of lines, at least 1; 0 for other events.
fn lines(received: &Option<io::Result<Received>>) -> u64 {
    match received {
        Some(Ok(Received::Bytes(bytes))) => {
            bytes.iter().filter(|byte| **byte == b'\n').count().max(1) as u64
        }
        _ => 0,
    }
}
