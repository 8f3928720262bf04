//! The stream of a client that the user follows: what the server sees on its connection.

use std::collections::VecDeque;

use echogate_proto::api::{Connection as Client, Kind};

use super::{
    dispatch::{Message, dispatch},
    socket::{Socket, TapEvent},
};
use crate::{export::reader::Reader, i18n::Texts, json::Json, session::Session};

/// A client that is followed.
pub(super) struct Following {
    /// The number of the client's connection.
    pub(super) client: u64,
    /// Whether another replica has the connection.
    is_remote: bool,
    pub(super) name: String,
    /// Whether the client is the page itself, in the lesson.
    pub(super) is_lesson: bool,
    pub(super) state: FollowState,
    /// Whether the client's side carries bytes, not messages.
    pub(super) is_stream: bool,
    /// The events as the server wrote them.
    pub(super) events: Events,
    reader: Reader,
    /// Dropped to stop following.
    tap: Option<Socket>,
}

/// The state of following.
pub(super) enum FollowState {
    /// No event has come yet.
    Asked,
    /// Events come.
    Live,
    /// No event comes any more.
    Ended,
    /// The client's connection ended before the server could report it.
    TooLate,
    /// The server refused, in its words.
    Refused(String),
}

/// The latest events, as JSON.
#[derive(Default)]
pub(super) struct Events {
    lines: VecDeque<String>,
    bytes: usize,
    /// The number of events that were dropped to stay within the bounds.
    pub(super) dropped: u64,
}

impl Events {
    /// The most events.
    const MAX: usize = 20_000;
    /// The most bytes of events.
    const MAX_BYTES: usize = 16 << 20;

    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > Self::MAX || self.bytes > Self::MAX_BYTES && self.lines.len() > 1 {
            let dropped = self.lines.pop_front().map_or(0, |line| line.len());
            self.bytes -= dropped;
            self.dropped += 1;
        }
    }

    /// The events, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(|line| &**line)
    }

    /// The events as JSON Lines.
    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [&**line, "\n"]).collect()
    }
}

impl Following {
    /// Follows a client from now on; the events go to the connection of this id.
    pub(super) fn start(client: &Client, name: String, id: u32) -> Following {
        let mut following = Following::later(name);
        following.go_on(client, id);
        following
    }

    /// The state before a client is followed.
    pub(super) fn later(name: String) -> Following {
        Following {
            client: 0,
            is_remote: false,
            is_stream: false,
            name,
            is_lesson: false,
            state: FollowState::Asked,
            events: Events::default(),
            reader: Reader::default(),
            tap: None,
        }
    }

    /// Follows a client from now on, instead of the one before, whose events stay.
    pub(super) fn go_on(&mut self, client: &Client, id: u32) {
        let handler = move |event, at| dispatch(Message::Connection(id, event, at));
        (self.client, self.is_remote) = (client.id, client.replica.is_some());
        self.is_stream = matches!(client.kind, Kind::Tcp | Kind::Tls | Kind::Unix);
        self.state = FollowState::Asked;
        self.reader = Reader::default();
        self.tap = Some(Socket::tap(&format!("api/connections/{}/tap", client.id), handler));
    }

    /// Handles an event of the tap.
    pub(super) fn on_event(&mut self, event: TapEvent, session: &mut Session) {
        match event {
            TapEvent::Event(line) => {
                self.state = FollowState::Live;
                let json = Json::read(&line);
                let row = json.and_then(|json| self.reader.read(&json)).flatten();
                if let Some((at, kind)) = row {
                    session.observe(kind, at);
                }
                self.events.push(line);
            }
            // Events that came before show that the server did not refuse: their stream broke.
            TapEvent::Refused { .. } if matches!(self.state, FollowState::Live) => {
                self.state = FollowState::Ended;
            }
            TapEvent::Refused { status: 404, .. } if !self.is_remote => {
                self.state = FollowState::TooLate;
            }
            TapEvent::Refused { text, .. } => self.state = FollowState::Refused(text),
            TapEvent::Ended => self.state = FollowState::Ended,
        }
    }

    /// The state as a heading of a few words.
    pub(super) fn headline(&self, texts: &Texts) -> &'static str {
        match self.state {
            FollowState::Asked | FollowState::Live if self.is_lesson => texts.lesson_goes_on,
            FollowState::Asked | FollowState::Live => texts.following,
            FollowState::Ended | FollowState::TooLate => texts.follow_ended,
            FollowState::Refused(_) => texts.follow_refused,
        }
    }

    /// Whether more may come.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, FollowState::Asked | FollowState::Live)
    }
}
