//! A session with its socket and all that belongs to it on the page: carries out what the
//! session wants done.

use super::{
    app, browser,
    parts::{Compose, Form, Reading},
    socket::Socket,
};
use crate::{
    composer::{
        self,
        transfer::{End, Transfer},
    },
    filter::{Filter, Show},
    payload::Payload,
    place::Start,
    session::{Effect, Event, Refusal, Session, State},
    time::Millis,
    words::{Words, fill},
};

/// How long to wait before looking whether the browser has sent some of what it holds.
const DRAIN: Millis = 10.0;

/// A connection of the page.
pub(super) struct Wire {
    pub(super) id: u32,
    pub(super) session: Session,
    socket: Option<Socket>,
    /// By which the server's side of it is found.
    pub(super) label: String,
    /// When to look again how much the browser holds, and when to connect again.
    ask_at: Option<Millis>,
    wake_at: Option<Millis>,
    /// Messages that went either way since the page was loaded: each lights the way up.
    pub(super) passed: u64,
    pub(super) form: Form,
    pub(super) compose: Compose,
    pub(super) reading: Reading,
    /// The name of the file that the transcript was loaded from.
    pub(super) loaded: Option<String>,
}

impl Wire {
    pub(super) fn new(id: u32, start: &Start) -> Wire {
        let mut session = Session::new();
        session.handle(Event::Reconnect(start.reconnect), 0.0);
        Wire {
            id,
            session,
            socket: None,
            label: browser::label(),
            ask_at: None,
            wake_at: None,
            passed: 0,
            form: Form::new(start),
            compose: Compose::new(),
            reading: Reading::new(),
            loaded: None,
        }
    }

    /// Takes in an event and carries out its effects; answers with the refusal among them.
    pub(super) fn tell(&mut self, event: Event) -> Option<Refusal> {
        let now = browser::now();
        if let Event::Received(payload) = &event {
            self.passed += 1;
            if let Some(transfer) = &mut self.compose.transfer {
                transfer.received(payload.bytes(), now);
            }
        }
        let mut refusal = None;
        for effect in self.session.handle(event, now) {
            match effect {
                Effect::Open { url, protocols } => self.open(&url, &protocols),
                Effect::AskBuffered => self.ask_at = Some(now + DRAIN),
                Effect::Wake(span) => self.wake_at = Some(now + span),
                Effect::Release => self.release(now),
                Effect::Refuse(why) => refusal = Some(why),
                Effect::Transmit(payload) => {
                    self.passed += 1;
                    self.with_socket(|socket| socket.send(&payload));
                }
                Effect::Close { code, reason } => {
                    self.with_socket(|socket| socket.close(code, &reason));
                }
            }
        }
        refusal
    }

    /// Sends what is in the composer; whether that was possible.
    pub(super) fn send_draft(&mut self, words: &Words, remember: bool) -> bool {
        let compose = &mut self.compose;
        if let Some(template) = compose.template.filter(|template| template.is_fresh_each_time()) {
            compose.draft = template.draft(browser::now());
        }
        let Ok(payload) = composer::payload(compose.draft.mode, &compose.draft.text) else {
            return false;
        };
        let draft = compose.draft.clone();
        let sent = self.send(payload, words);
        if sent && remember {
            self.compose.history.push(draft);
        }
        sent
    }

    /// Sends a message; the composer tells why if that is not possible.
    pub(super) fn send(&mut self, payload: Payload, words: &Words) -> bool {
        let refusal = self.tell(Event::Send(payload));
        self.compose.problem = match refusal {
            None => String::new(),
            Some(Refusal::NotOpen) => words.not_connected_send.to_owned(),
            Some(Refusal::InputEnded) => words.input_ended_send.to_owned(),
            Some(Refusal::QueueFull) => words.queue_full.to_owned(),
        };
        refusal.is_none()
    }

    /// Does what is due, and says when something will be next.
    pub(super) fn tick(&mut self, words: &Words) -> Option<Millis> {
        let now = browser::now();
        if self.ask_at.take_if(|at| *at <= now).is_some() {
            let bytes = self.buffered();
            self.tell(Event::Buffered(bytes));
        }
        if self.wake_at.take_if(|at| *at <= now).is_some() {
            self.tell(Event::Woken);
        }
        self.step_transfer();
        let mut beat = None;
        if let Some(mut pace) = self.compose.pace.take() {
            let due = pace.due(now);
            let all_sent = (0..due).all(|_| self.send_draft(words, false));
            if all_sent || self.session.state().takes_messages() {
                beat = Some(now + pace.wait(now));
                self.compose.pace = Some(pace);
            }
        }
        let transfer = self.compose.transfer.as_ref().filter(|transfer| transfer.end().is_none());
        let look = transfer.map(|_| now + DRAIN);
        [self.ask_at, self.wake_at, beat, look].into_iter().flatten().reduce(f64::min)
    }

    /// Begins to send the file that was chosen.
    pub(super) fn start_transfer(&mut self, expect: composer::transfer::Expect) {
        if let Some(file) = &self.compose.file {
            let (name, size) = (file.name(), file.size() as u64);
            self.compose.transfer = Some(Transfer::new(name, size, expect, browser::now()));
        }
    }

    fn step_transfer(&mut self) {
        let id = self.id;
        let waiting =
            self.buffered() + if self.session.queued() > 0 { Session::MAX_BUFFERED } else { 0 };
        let Some((transfer, file)) = self.compose.transfer.as_mut().zip(self.compose.file.as_ref())
        else {
            return;
        };
        if let Some(part) = transfer.next(waiting) {
            browser::read(file, part.start, part.end, move |bytes| {
                app::with(|app| app.with_wire(id, |wire| wire.piece(bytes)));
            });
        }
    }

    fn piece(&mut self, bytes: Option<Vec<u8>>) {
        let now = browser::now();
        let Some(transfer) = self.compose.transfer.as_mut().filter(|it| it.end().is_none()) else {
            return;
        };
        match bytes {
            None => transfer.finish(End::Unreadable, now),
            Some(bytes) => {
                transfer.piece(&bytes, now);
                if self.tell(Event::Send(bytes.into())).is_some()
                    && let Some(transfer) = &mut self.compose.transfer
                {
                    transfer.finish(End::Lost, now);
                }
                self.step_transfer();
            }
        }
    }

    /// Shows rows of this kind with this text.
    pub(super) fn choose(&mut self, show: Show, text: &str) {
        self.reading.show = show;
        text.clone_into(&mut self.reading.text);
        self.reading.matches.choose(Filter::new(show, text));
        self.reading.follow = true;
    }

    /// Looks at what has changed in the transcript.
    pub(super) fn catch_up(&mut self) {
        self.reading.matches.update(self.session.transcript_mut());
    }

    /// The state in a sentence, for a screen reader.
    pub(super) fn spoken_state(&self, words: &Words) -> String {
        match self.session.state() {
            State::Closed(ending) => ending.sentences(words),
            State::Open { ended, .. } if !ended.ours && !ended.theirs => {
                fill(words.connected_to, &[self.session.url()])
            }
            other => other.headline(words).to_owned(),
        }
    }

    fn open(&mut self, url: &str, protocols: &[String]) {
        let id = self.id;
        let tell = move |event| app::with(|app| app.heard(id, event));
        self.label = browser::label();
        match Socket::open(&browser::place().labelled(url, &self.label), protocols, tell) {
            Ok(socket) => self.socket = Some(socket),
            Err(words) => {
                self.tell(Event::Rejected(words));
            }
        }
    }

    fn release(&mut self, now: Millis) {
        self.socket = None;
        self.ask_at = None;
        self.compose.pace = None;
        if let Some(transfer) = &mut self.compose.transfer {
            transfer.finish(End::Lost, now);
        }
    }

    fn buffered(&self) -> usize {
        self.socket.as_ref().map_or(0, Socket::buffered)
    }

    fn with_socket(&self, act: impl FnOnce(&Socket)) {
        self.socket.as_ref().map(act);
    }
}
