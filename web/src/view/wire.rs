//! A session with its socket: carries out what the session wants done, and has the page redrawn
//! at most once a frame however much happens.

use leptos::prelude::*;
use wasm_bindgen::closure::Closure;

use super::{browser, socket::Socket};
use crate::{
    announce::Announcer,
    format,
    payload::Payload,
    session::{Effect, Event, Refusal, Session, State},
    time::Millis,
};

/// A handle on one connection's session; copies are handles on the same.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    inner: StoredValue<Inner, LocalStorage>,
    changed: Trigger,
    announcement: RwSignal<String>,
}

struct Inner {
    session: Session,
    announcer: Announcer,
    socket: Option<Socket>,
    redraw_is_due: bool,
    speech_is_due: bool,
    redraw: Closure<dyn FnMut()>,
    ask_buffered: Closure<dyn FnMut()>,
    speak: Closure<dyn FnMut()>,
}

/// How long to wait before looking whether the browser has sent some of what it holds.
const DRAIN: Millis = 10.0;

impl Wire {
    pub(super) fn new() -> Wire {
        // Callbacks outlive no wire: they are part of it.
        let inner = StoredValue::new_local(Inner {
            session: Session::new(),
            announcer: Announcer::default(),
            socket: None,
            redraw_is_due: false,
            speech_is_due: false,
            redraw: Closure::new(|| {}),
            ask_buffered: Closure::new(|| {}),
            speak: Closure::new(|| {}),
        });
        let wire = Wire { inner, changed: Trigger::new(), announcement: RwSignal::default() };
        inner.update_value(|inner| {
            inner.redraw = Closure::new(move || wire.redraw());
            inner.speak = Closure::new(move || {
                wire.inner.update_value(|inner| inner.speech_is_due = false);
                wire.speak();
            });
            inner.ask_buffered = Closure::new(move || {
                let socket = |inner: &Inner| inner.socket.as_ref().map(Socket::buffered);
                if let Some(bytes) = wire.inner.with_value(socket) {
                    wire.tell(Event::Buffered(bytes));
                }
            });
        });
        wire
    }

    /// Reads the session; what is drawn from it is drawn again when it has changed.
    pub(super) fn read<T>(self, read: impl FnOnce(&Session) -> T) -> T {
        self.changed.track();
        self.inner.with_value(|inner| read(&inner.session))
    }

    /// Where the connection stands.
    pub(super) fn state(self) -> State {
        self.read(|session| session.state().clone())
    }

    /// What a screen reader is to say.
    pub(super) fn announcement(self) -> String {
        self.announcement.get()
    }

    /// Connects.
    pub(super) fn connect(self, url: String, protocols: Vec<String>) {
        self.tell(Event::Connect { url, protocols });
    }

    /// Disconnects, or calls off a connection that is not yet open.
    pub(super) fn disconnect(self) {
        self.tell(Event::Disconnect);
    }

    /// Sends a message.
    pub(super) fn send(self, payload: Payload) -> Result<(), Refusal> {
        self.tell(Event::Send(payload)).map_or(Ok(()), Err)
    }

    /// Empties the transcript.
    pub(super) fn clear_transcript(self) {
        self.inner.update_value(|inner| inner.session.clear_transcript());
        self.changed.notify();
    }

    /// Takes in an event and carries out its effects; answers with the refusal among them.
    fn tell(self, event: Event) -> Option<Refusal> {
        let mut refusal = None;
        let effects = self.inner.try_update_value(|inner| inner.handle(event)).unwrap_or_default();
        for effect in effects {
            match effect {
                Effect::Open { url, protocols } => self.open(&url, &protocols),
                Effect::AskBuffered => {
                    self.inner.with_value(|inner| browser::after(DRAIN, &inner.ask_buffered));
                }
                Effect::Release => self.inner.update_value(|inner| inner.socket = None),
                Effect::Refuse(why) => refusal = Some(why),
                Effect::Transmit(payload) => self.with_socket(|socket| socket.send(&payload)),
                Effect::Close => self.with_socket(Socket::close),
            }
        }
        self.request_redraw();
        refusal
    }

    fn open(self, url: &str, protocols: &[String]) {
        let tell = move |event| {
            self.tell(event);
        };
        match Socket::open(url, protocols, tell) {
            Ok(socket) => self.inner.update_value(|inner| inner.socket = Some(socket)),
            Err(words) => tell(Event::Rejected(words)),
        }
    }

    fn with_socket(self, act: impl FnOnce(&Socket)) {
        self.inner.with_value(|inner| inner.socket.as_ref().map(act));
    }

    fn request_redraw(self) {
        self.inner.update_value(|inner| {
            if !std::mem::replace(&mut inner.redraw_is_due, true) {
                browser::before_next_frame(&inner.redraw);
            }
        });
    }

    fn redraw(self) {
        self.inner.update_value(|inner| inner.redraw_is_due = false);
        self.changed.notify();
        self.speak();
    }

    fn speak(self) {
        let now = browser::now();
        let mut sentence = None;
        self.inner.update_value(|inner| {
            sentence = inner.announcer.speak(now);
            if let Some(wait) = inner.announcer.wait(now)
                && !std::mem::replace(&mut inner.speech_is_due, true)
            {
                browser::after(wait, &inner.speak);
            }
        });
        if let Some(mut sentence) = sentence {
            // The same sentence again is no change, and would not be read out.
            if self.announcement.with_untracked(|last| *last == sentence) {
                sentence.push('\u{a0}');
            }
            self.announcement.set(sentence);
        }
    }
}

impl Inner {
    fn handle(&mut self, event: Event) -> Vec<Effect> {
        if let Event::Received(payload) = &event {
            self.announcer.received(format::preview(payload, 100));
        }
        let before = self.session.state().name();
        let effects = self.session.handle(event, browser::now());
        let state = self.session.state();
        if state.name() != before {
            self.announcer.state(match state {
                State::Closed(ending) => ending.sentences(),
                State::Open { .. } => format!("Connected to {}", self.session.url()),
                other => other.headline().to_owned(),
            });
        }
        effects
    }
}
