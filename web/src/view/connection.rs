//! A connection of the page: a session with its socket and its forms; carries out the session's
//! effects.

mod file_transfer;
mod repeat;

use std::{cell::RefCell, rc::Rc};

use super::{
    browser,
    command::Command,
    dispatch::{Message, dispatch},
    dom::id,
    following::{FollowState, Following},
    forms::{ConnectionForm, MessageForm, TranscriptView},
    socket::{Socket, TapEvent},
};
use crate::{
    composer::{Draft, history::History},
    format,
    i18n::{Texts, fill},
    location::{SharedLink, StartOptions},
    pairing::Pairing,
    redraw::earliest,
    session::{Effect, Event, Refusal, Session, State},
    storage,
    time::Millis,
};

/// The interval at which the browser's send buffer is polled.
const POLL_INTERVAL: Millis = 10.0;

/// A connection of the page.
pub(super) struct Connection {
    pub(super) id: u32,
    pub(super) session: Session,
    socket: Option<Socket>,
    /// The label by which the server's side of the connection is found.
    pub(super) label: String,
    /// The time of the next poll of the browser's send buffer.
    poll_at: Option<Millis>,
    /// The time at which the session's timer expires.
    timer_at: Option<Millis>,
    pub(super) form: ConnectionForm,
    pub(super) compose: MessageForm,
    pub(super) view: TranscriptView,
    /// Whether the draft is sent as soon as the connection is open.
    pub(super) sends_draft: bool,
    pub(super) source: Source,
    /// The element from which the focus moved to the message field when the connection opened.
    pub(super) focus_left: Option<String>,
}

/// The source of a connection's rows.
pub(super) enum Source {
    /// A socket of the page.
    Socket,
    /// The file of this name.
    File(String),
    /// A client of the server.
    Client(Following),
}

impl Connection {
    pub(super) fn new(
        id: u32,
        options: &StartOptions,
        default: &str,
        history: Rc<RefCell<History>>,
    ) -> Connection {
        let mut session = Session::new();
        session.handle(Event::Reconnect(options.reconnect), 0.0);
        Connection {
            id,
            session,
            socket: None,
            label: browser::random_label(),
            poll_at: None,
            timer_at: None,
            form: ConnectionForm::new(options, default),
            compose: MessageForm::new(history),
            view: TranscriptView::new(),
            sends_draft: false,
            source: Source::Socket,
            focus_left: None,
        }
    }

    /// Whether the rows are not those of a socket of the page: nothing can be sent.
    pub(super) fn is_read_only(&self) -> bool {
        !matches!(self.source, Source::Socket)
    }

    /// The endpoint and the subprotocols as they were typed.
    pub(super) fn address(&self) -> (&str, &str) {
        (&self.form.endpoint, &self.form.protocols)
    }

    /// The endpoint, the subprotocols and the draft, as a link to them.
    pub(super) fn link(&self) -> SharedLink {
        let (endpoint, protocols) = (self.form.endpoint.clone(), self.form.protocols.clone());
        SharedLink { endpoint, protocols, draft: self.compose.draft.clone() }
    }

    /// Takes the endpoint, the subprotocols and the draft of a link. While the connection is not at
    /// rest, its address stays, and a draft for another address is not taken.
    pub(super) fn take_link(&mut self, link: SharedLink) {
        let SharedLink { endpoint, protocols, draft } = link;
        if self.session.state().is_at_rest() {
            self.take_address(endpoint, protocols);
        } else if self.address() != (&endpoint, &protocols) {
            return;
        }
        let compose = &mut self.compose;
        (compose.draft, compose.template, compose.is_file) = (draft, None, false);
    }

    /// Takes an endpoint and subprotocols as they were typed.
    pub(super) fn take_address(&mut self, endpoint: String, protocols: String) {
        let form = &mut self.form;
        (form.endpoint, form.protocols, form.is_default) = (endpoint, protocols, false);
    }

    /// The state's name in the page's attributes, and whether it is normal.
    pub(super) fn state_name(&self) -> (&'static str, bool) {
        match &self.source {
            Source::Client(following) if following.is_live() => ("open", true),
            Source::Client(following) => {
                ("closed", !matches!(following.state, FollowState::Refused(_)))
            }
            Source::Socket | Source::File(_) => {
                (self.session.state().name(), self.session.state().is_normal())
            }
        }
    }

    /// The name of the file or client that the rows come from.
    pub(super) fn source_name(&self) -> Option<&str> {
        match &self.source {
            Source::Socket => None,
            Source::File(name) => Some(name),
            Source::Client(following) => Some(&following.name),
        }
    }

    /// The time at which measurements end: now, or that of the latest row of what has ended.
    pub(super) fn measured_until(&self, now: Millis) -> Millis {
        let ended = match &self.source {
            Source::Socket => false,
            Source::File(_) => true,
            Source::Client(following) => !following.is_live(),
        };
        let last = self.session.transcript().rows().next_back().map(|row| row.at);
        last.filter(|_| ended).unwrap_or(now)
    }

    /// Handles an event that happened at `at` and carries out its effects; returns the refusal
    /// among them.
    pub(super) fn on_event(&mut self, event: Event, at: Millis) -> Option<Refusal> {
        let now = browser::now();
        let mut refusal = None;
        for effect in self.session.handle(event, at) {
            match effect {
                Effect::Open { url, protocols } => self.open(&url, &protocols),
                Effect::PollBuffered => self.poll_at = Some(now + POLL_INTERVAL),
                Effect::StartTimer(span) => self.timer_at = Some(now + span),
                Effect::DropSocket => self.drop_socket(),
                Effect::Refuse(reason) => refusal = Some(reason),
                Effect::Transmit(payload) => {
                    self.with_socket(|socket| socket.send(&payload));
                }
                Effect::Close { code, reason } => {
                    self.with_socket(|socket| socket.close(code, &reason));
                }
            }
        }
        refusal
    }

    /// Handles an event of the tap of the client that is followed.
    pub(super) fn on_tap(&mut self, event: TapEvent) {
        if let Source::Client(following) = &mut self.source {
            following.on_event(event, &mut self.session);
        }
    }

    /// Whether a reload of the page would lose something: an open connection, pins, or messages that
    /// were not exported.
    pub(super) fn is_lost_by_reload(&self) -> bool {
        let transcript = self.session.transcript();
        let mut new = transcript.rows_from(self.view.exported);
        let has_new =
            !matches!(self.source, Source::File(_)) && new.any(|row| row.kind.message().is_some());
        has_new || transcript.has_pins() || !self.session.state().is_at_rest()
    }

    /// Whether sending may open the connection first: there is none and none is awaited.
    pub(super) fn can_connect(&self) -> bool {
        let state = self.session.state();
        !self.is_read_only() && state.is_at_rest() && !matches!(state, State::Waiting { .. })
    }

    /// Whether the opening handshake has begun and not ended.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.session.state(), State::Connecting)
    }

    /// Sends the composer's draft, over a new connection if there is none.
    pub(super) fn send_or_connect(&mut self, texts: &Texts) -> Command {
        let is_sendable = self.compose.draft.payload().is_ok();
        if self.can_connect() && is_sendable {
            return Command::ConnectAndSend;
        }
        if self.is_connecting() {
            self.sends_draft = is_sendable;
            return Command::Draw;
        }
        self.send_draft(texts);
        Command::Focus(id::MESSAGE)
    }

    /// Sends the composer's draft, adds it to the history, and empties the field unless it holds a
    /// template; returns whether it was sent.
    pub(super) fn send_draft(&mut self, texts: &Texts) -> bool {
        let compose = &mut self.compose;
        if let Some(template) = compose.template.filter(|template| template.is_refreshed()) {
            compose.draft = template.draft(browser::now());
        }
        let draft = compose.draft.clone();
        let sent = self.send_message(&draft, texts);
        if sent {
            self.note_unless_stored(&draft, texts);
            self.compose.history.borrow_mut().push(draft);
            if self.compose.template.is_none() {
                self.compose.draft.text.clear();
            }
        }
        sent
    }

    /// Notes that the message is too long to be stored, if it is.
    pub(super) fn note_unless_stored(&mut self, draft: &Draft, texts: &Texts) {
        if draft.text.len() > storage::MAX_TEXT {
            self.view.note = fill(texts.not_stored, &[&format::size(storage::MAX_TEXT as u64)]);
        }
    }

    /// Sends a message; a refusal is shown in the composer.
    pub(super) fn send_message(&mut self, draft: &Draft, texts: &Texts) -> bool {
        let Ok(payload) = draft.payload() else { return false };
        let refusal = self.on_event(Event::Send(payload), browser::now());
        self.compose.problem = match refusal {
            None => String::new(),
            Some(Refusal::NotOpen) => texts.not_connected_send.to_owned(),
            Some(Refusal::InputEnded) => texts.input_ended_send.to_owned(),
            Some(Refusal::QueueFull) => texts.queue_full.to_owned(),
        };
        refusal.is_none()
    }

    /// Does what is due; returns the time at which something is due next.
    pub(super) fn tick(&mut self, texts: &Texts) -> Option<Millis> {
        let now = browser::now();
        if self.poll_at.take_if(|at| *at <= now).is_some() {
            self.with_socket(Socket::poll);
        }
        if self.timer_at.take_if(|at| *at <= now).is_some() {
            self.on_event(Event::TimerExpired, now);
        }
        let repeat = self.step_repeat(texts, now);
        earliest([self.poll_at, self.timer_at, repeat])
    }

    /// Sets the rule for pairing replies: the user's choice, or else this default.
    pub(super) fn set_pairing(&mut self, default: Pairing) {
        if !self.is_read_only() {
            self.session.set_pairing(self.view.pairing.clone().unwrap_or(default));
        }
    }

    /// Sets the rule for pairing replies that the user chose.
    pub(super) fn choose_pairing(&mut self, rule: Pairing) {
        self.view.pairing = Some(rule.clone());
        self.session.set_pairing(rule);
    }

    /// Examines the transcript's new rows for the filter.
    pub(super) fn update_matches(&mut self, texts: &Texts) {
        self.view.matches.update(self.session.transcript(), texts);
    }

    /// The state as a heading of a few words.
    pub(super) fn headline(&self, texts: &Texts) -> &'static str {
        match &self.source {
            Source::Socket => self.session.state().headline(texts),
            Source::File(_) => texts.from_file,
            Source::Client(following) => following.headline(texts),
        }
    }

    /// The state as a sentence for screen readers.
    pub(super) fn announcement(&self, texts: &Texts) -> String {
        match self.session.state() {
            State::Closed(reason) => reason.sentences(texts),
            State::Open { ended, .. } if !ended.ours && !ended.theirs => {
                fill(texts.connected_to, &[self.session.url()])
            }
            other => other.headline(texts).to_owned(),
        }
    }

    fn open(&mut self, url: &str, protocols: &[String]) {
        let id = self.id;
        self.label = browser::random_label();
        self.session.set_jitter(browser::random());
        let url = browser::location().with_label(url, &self.label);
        let handler = move |event, at| dispatch(Message::Connection(id, event, at));
        self.socket = Some(Socket::open(&url, protocols, handler));
    }

    fn drop_socket(&mut self) {
        self.socket = None;
        self.poll_at = None;
    }

    fn with_socket(&self, act: impl FnOnce(&Socket)) {
        self.socket.as_ref().map(act);
    }
}
