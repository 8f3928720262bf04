//! All that there is on the page, and its clock: what happens is taken in at once, and drawn
//! once before the next frame.

use std::cell::RefCell;

use wasm_bindgen::closure::Closure;

use super::{
    act::{Act, Listeners},
    browser,
    model::Model,
    operator,
    screen::Screen,
    socket::Events,
    wire::Wire,
};
use crate::{
    format, live,
    session::{Event, State},
    time::Millis,
    told,
    words::Language,
};

thread_local! {
    /// The page stays until the browser leaves it.
    static APP: RefCell<Option<App>> = const { RefCell::new(None) };
}

/// A frame that took this long to draw took long: of 16 ms the browser wants its part.
const LONG_FRAME: Millis = 4.0;

/// The most characters or bytes of a message that are read out.
const SPOKEN: usize = 100;

pub(super) struct App {
    pub(super) model: Model,
    screen: Screen,
    events: Option<Events>,
    frame: Closure<dyn FnMut()>,
    frame_is_due: bool,
    /// Whether the next frame is left to the browser.
    rests: bool,
    clock: Closure<dyn FnMut()>,
    /// The timer that is set, and when it is due.
    timer: Option<(i32, Millis)>,
    _listeners: Listeners,
}

/// Begins.
pub(super) fn start() {
    let app = App::new(browser::language());
    APP.with(|place| *place.borrow_mut() = Some(app));
    with(|app| {
        if app.model.start.autoconnect {
            app.connect();
        }
        app.listen();
        app.tick();
    });
    browser::get("/api/endpoints", |text| {
        with(|app| {
            app.model.endpoints = told::endpoints(&text).unwrap_or_default();
            app.pair();
            app.redraw_soon();
        });
    });
}

/// Does something with the page, and draws what has changed before the next frame. What the
/// page itself makes happen meanwhile, as by moving the focus, is nothing new to it.
pub(super) fn with(act: impl FnOnce(&mut App)) {
    quietly(|app| {
        act(app);
        app.redraw_soon();
    });
}

fn quietly(act: impl FnOnce(&mut App)) {
    APP.with(|place| {
        if let Ok(mut place) = place.try_borrow_mut()
            && let Some(app) = &mut *place
        {
            act(app);
        }
    });
}

impl App {
    fn new(language: Language) -> App {
        let model = Model::new(language.words(), browser::start());
        App {
            screen: Screen::new(model.words),
            model,
            events: None,
            frame: Closure::new(|| {
                quietly(|app| {
                    app.frame_is_due = false;
                    app.draw_or_rest();
                });
            }),
            frame_is_due: false,
            rests: false,
            clock: Closure::new(|| {
                with(|app| {
                    app.timer = None;
                    app.tick();
                });
            }),
            timer: None,
            _listeners: Listeners::new(),
        }
    }

    /// Says everything in another language from now on.
    pub(super) fn speak(&mut self, language: Language) {
        self.model.words = language.words();
        self.screen = Screen::new(self.model.words);
    }

    pub(super) fn act(&mut self, act: &Act) {
        if act.does == "hashchange" || act.does == "resize" {
            return;
        }
        if super::masthead::act(self, act)
            || super::connections::act(self, act)
            || super::reading::act(self, act)
            || super::composer::act(self, act)
            || super::file::act(self, act)
            || operator::act(self, act)
        {
            self.tick();
        }
    }

    /// Something happened on a connection.
    pub(super) fn heard(&mut self, id: u32, event: Event) {
        if let Event::Received(payload) = &event
            && self.model.wire().id == id
        {
            self.model.announcer.received(format::preview(payload, SPOKEN));
        }
        self.with_wire(id, |wire| {
            wire.tell(event);
        });
    }

    pub(super) fn with_wire(&mut self, id: u32, act: impl FnOnce(&mut Wire)) {
        let Model { words, wires, announcer, chosen, .. } = &mut self.model;
        let Some(at) = wires.iter().position(|wire| wire.id == id) else { return };
        let wire = &mut wires[at];
        let before = wire.session.state().name();
        act(wire);
        let state = wire.session.state();
        let opened = matches!(state, State::Open { .. });
        if state.name() != before {
            announcer.state(wire.spoken_state(words));
            // Who has just connected wants to write next.
            let asked = ["toggle", "endpoint", "protocol"].contains(&&*browser::focused());
            if opened && asked && at == *chosen {
                browser::focus(super::composer::FIELD);
            }
            self.tick();
        }
    }

    /// Connects the chosen connection to where its form says.
    pub(super) fn connect(&mut self) {
        let wire = self.model.wire();
        let wanted = browser::place().endpoint(&wire.form.endpoint);
        wire.form.problem = wanted.as_ref().err().copied();
        match wanted {
            Ok(url) => {
                let protocols = crate::place::protocols(&wire.form.protocols);
                let id = wire.id;
                let pairing = live::pairing(self.model.service(&url));
                self.with_wire(id, |wire| {
                    wire.loaded = None;
                    wire.session.pair(pairing);
                    wire.tell(Event::Connect { url, protocols });
                });
            }
            Err(_) => browser::focus("endpoint"),
        }
    }

    /// Tells connections that were made before the server told of its endpoints.
    fn pair(&mut self) {
        for at in 0..self.model.wires.len() {
            let url = self.model.wires[at].session.url().to_owned();
            let pairing = live::pairing(self.model.service(&url));
            self.model.wires[at].session.pair(pairing);
        }
    }

    fn listen(&mut self) {
        self.events = Events::listen(
            "/api/events",
            |text| {
                with(|app| {
                    if let Some(event) = told::event(&text) {
                        app.model.live.take(event, browser::now());
                    }
                });
            },
            || with(|app| app.model.live.lost()),
        );
    }

    /// Does what is due now, and sets the timer for what is due next.
    pub(super) fn tick(&mut self) {
        let words = self.model.words;
        let mut next = browser::now() + 1000.0;
        for wire in &mut self.model.wires {
            if let Some(due) = wire.tick(words) {
                next = next.min(due);
            }
        }
        if let Some(wait) = self.model.announcer.wait(browser::now()) {
            next = next.min(browser::now() + wait);
        }
        self.model.live.tidy(browser::now());
        // A server that refused for good, as one that ends does, is asked again.
        if self.events.as_ref().is_none_or(Events::is_closed) && self.model.live.is_known() {
            self.listen();
        }
        match self.timer {
            Some((_, due)) if due <= next => {}
            before => {
                if let Some((timer, _)) = before {
                    browser::cancel(timer);
                }
                let timer = browser::after((next - browser::now()).max(0.0), &self.clock);
                self.timer = Some((timer, next));
            }
        }
    }

    fn redraw_soon(&mut self) {
        if !std::mem::replace(&mut self.frame_is_due, true) {
            browser::before_next_frame(&self.frame);
        }
    }

    /// A frame that took long is followed by one in which nothing is drawn: under a flood, and
    /// on a slow machine, the page stays smooth, and nobody reads that fast.
    fn draw_or_rest(&mut self) {
        if std::mem::take(&mut self.rests) {
            return self.redraw_soon();
        }
        let start = browser::now();
        self.draw();
        self.rests = browser::now() - start > LONG_FRAME;
    }

    fn draw(&mut self) {
        self.model.wires.iter_mut().for_each(Wire::catch_up);
        if self.screen.draw(&mut self.model, browser::now()) {
            self.redraw_soon();
        }
    }
}
