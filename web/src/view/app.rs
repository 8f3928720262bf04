//! The page's state and clock: events change the model at once, and the screen is drawn once
//! before the next frame.

use std::cell::RefCell;

use wasm_bindgen::closure::Closure;

use super::{
    browser,
    command::Command,
    composer,
    connection::Connection,
    dispatch::{self, Message},
    dom::id,
    draft_settings, file_panel, first_run, header, ladder_panel, lesson_panel,
    model::Model,
    operator_panel,
    painting::Painting,
    repetition,
    screen::{OPERATOR, Screen},
    server_events::ServerEvents,
    share_menu, sidebar,
    socket::{self, SocketEvent},
    transcript_file, transcript_input, url_bar,
    user_event::{Listeners, UserEvent},
};
use crate::{
    format,
    i18n::Language,
    location::parse_subprotocols,
    redraw::earliest,
    session::{Event, State},
    time::Millis,
    wire,
};

thread_local! {
    static APP: RefCell<Option<App>> = const { RefCell::new(None) };
}

/// The panels' handlers: the first that knows an action handles it.
const PANELS: [fn(&mut Model, &UserEvent) -> Option<Command>; 14] = [
    header::act,
    url_bar::act,
    sidebar::act,
    first_run::act,
    ladder_panel::act,
    lesson_panel::act,
    transcript_input::act,
    transcript_file::act,
    composer::act,
    draft_settings::act,
    repetition::act,
    share_menu::act,
    file_panel::act,
    operator_panel::act,
];

/// A frame whose drawing took longer is followed by one without drawing: of the 16 ms of a frame
/// the browser needs its part.
const LONG_FRAME: Millis = 4.0;

/// The most characters or bytes of a message that are read out.
const MAX_SPOKEN: usize = 100;

/// The wait after an action of the user before the settings are stored: not while a message that was
/// just sent is on its way.
const STORE_AFTER: Millis = 200.0;

/// The page.
struct App {
    model: Model,
    screen: Screen,
    /// The language that was chosen last; its texts may be on their way.
    language: Language,
    server_events: ServerEvents,
    /// The time at which the settings are stored, if they may have changed.
    store_at: Option<Millis>,
    frame: Closure<dyn FnMut()>,
    frame_requested: bool,
    /// Whether the next frame is left to the browser.
    skip_frame: bool,
    clock: Closure<dyn FnMut()>,
    painting: Painting,
    /// The running timer and the time at which it fires.
    timer: Option<(i32, Millis)>,
    _listeners: Listeners,
}

/// Starts the page, in the language of the user if its texts can be loaded.
pub(super) fn start() {
    socket::start();
    let language = browser::language();
    load_texts(language, move || begin(language));
}

/// Loads the texts of a language unless they are there; `then` is called after a failure, too.
fn load_texts(language: Language, then: impl FnOnce() + 'static) {
    let Some(name) = language.file_to_load() else { return then() };
    browser::get(name, move |file| {
        file.into_iter().for_each(|file| language.load(file));
        then();
    });
}

fn begin(language: Language) {
    let app = App::new(language);
    APP.with(|slot| *slot.borrow_mut() = Some(app));
    dispatch::set_handler(|message| with_app(|app| app.on_message(message)));
    with_app(|app| {
        app.tick();
        if browser::fragment() != OPERATOR && !browser::has_touch() {
            browser::focus(id::MESSAGE);
        }
        if app.model.options.endpoint.is_some() {
            app.connect_at_start();
        }
    });
    browser::get("api/endpoints", |text| {
        with_app(|app| {
            app.model
                .set_endpoints(text.and_then(|text| wire::endpoints(&text)).unwrap_or_default());
            app.update_pairing();
            if app.model.options.endpoint.is_none() {
                app.connect_at_start();
            }
        });
    });
}

/// Changes the page, and draws it before the next frame.
fn with_app(change: impl FnOnce(&mut App)) {
    with_app_undrawn(|app| {
        change(app);
        app.request_frame();
    });
}

/// Changes the page. An event that the change itself causes, as by moving the focus, is ignored.
fn with_app_undrawn(change: impl FnOnce(&mut App)) {
    APP.with(|slot| {
        if let Ok(mut slot) = slot.try_borrow_mut()
            && let Some(app) = &mut *slot
        {
            change(app);
        }
    });
}

impl App {
    fn new(language: Language) -> App {
        let model = Model::new(language, browser::start_options());
        App {
            screen: Screen::new(model.texts),
            model,
            language,
            server_events: ServerEvents::new(),
            store_at: None,
            frame: Closure::new(|| {
                with_app_undrawn(|app| {
                    app.frame_requested = false;
                    app.draw_or_skip();
                });
            }),
            frame_requested: false,
            skip_frame: false,
            clock: Closure::new(|| {
                with_app(|app| {
                    app.timer = None;
                    app.tick();
                });
            }),
            painting: Painting::new(|| with_app(|app| app.painting.painted(&mut app.model))),
            timer: None,
            _listeners: Listeners::new(
                |event| with_app(|app| app.on_user_event(event)),
                || with_app(|app| app.model.store()),
            ),
        }
    }

    fn on_user_event(&mut self, event: &UserEvent) {
        self.model.begin_action(event.action);
        if let Some(command) = PANELS.iter().find_map(|act| act(&mut self.model, event)) {
            self.carry_out(command);
            self.store_at = self.store_at.or(Some(browser::now() + STORE_AFTER));
            self.tick();
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Connection(id, SocketEvent::Session(event), at) => {
                self.on_event(id, event, at);
            }
            Message::Connection(id, SocketEvent::File(progress), at) => {
                self.with_connection(id, |connection| connection.file_moved(&progress, at));
            }
            Message::Connection(id, SocketEvent::Tap(event), _) => {
                self.with_connection(id, |connection| connection.on_tap(event));
            }
            Message::Server(event) => {
                self.server_events.on_event(event, &mut self.model.live, browser::now());
                self.model.record_legs();
                self.tick();
            }
            Message::LessonRefused => {
                let Model { lesson, texts, .. } = &mut self.model;
                if let Some(session) = lesson {
                    session.failure = Some(texts.lesson_refused.to_owned());
                }
            }
            Message::Operator(event) => self.on_operator_event(event),
        }
    }

    fn on_operator_event(&mut self, event: Event) {
        let Model { operator: session, texts, .. } = &mut self.model;
        let was_signed_in = session.operator.is_signed_in();
        session.on_event(event, texts);
        let signs_in = session.operator.is_signed_in() && !was_signed_in;
        // An operator who has just signed in answers next.
        if signs_in && [id::TOKEN, id::SIGN_IN].contains(&&*browser::focused()) {
            self.focus(id::ANSWER);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Draw => {}
            Command::Connect => self.connect(),
            Command::ConnectAndSend => {
                self.model.connection().sends_draft = true;
                self.connect();
            }
            Command::Deliver(id, event) => {
                self.with_connection(id, |connection| {
                    connection.on_event(event, browser::now());
                });
            }
            Command::SetLanguage(language) => {
                self.language = language;
                match language.file_to_load() {
                    None => self.use_language(),
                    Some(_) => load_texts(language, || with_app(App::use_language)),
                }
            }
            Command::Focus(id) => self.focus(id),
            Command::Click(id) => browser::click(id),
            Command::Copy(id, text) => {
                let texts = self.model.texts;
                browser::copy(&text, move |done| {
                    let note = if done { texts.copied } else { texts.copy_failed };
                    with_app(|app| {
                        app.with_connection(id, |it| note.clone_into(&mut it.view.note));
                    });
                });
            }
            Command::Download { name, kind, bytes } => {
                // There is no more to do if the browser refuses.
                let _offered = browser::download(&name, kind, &bytes);
            }
            Command::ReadTranscript(file) => {
                let name = file.name();
                browser::read(&file, move |bytes| {
                    let bytes = bytes.unwrap_or_default();
                    with_app(|app| transcript_file::open(&mut app.model, &name, &bytes));
                });
            }
        }
    }

    /// Makes the screen anew, in the chosen language. The focus stays.
    fn use_language(&mut self) {
        let focused = browser::focused();
        self.model.set_language(self.language);
        self.screen = Screen::new(self.model.texts);
        self.focus(&focused);
    }

    /// Moves the focus to the element with this id, which may be hidden until it is drawn.
    fn focus(&mut self, id: &str) {
        browser::focus(id);
        if browser::focused() != id {
            self.draw();
            browser::focus(id);
        }
    }

    /// An event of a connection's socket, which happened at this time.
    fn on_event(&mut self, id: u32, event: Event, at: Millis) {
        if let Event::Received(payload) = &event
            && self.model.connection().id == id
        {
            self.model.announcer.received(format::preview(payload, 0, MAX_SPOKEN));
        }
        self.with_connection(id, |connection| {
            connection.on_event(event, at);
        });
    }

    /// Changes a connection, and announces its state if that has changed.
    fn with_connection(&mut self, id: u32, change: impl FnOnce(&mut Connection)) {
        let Model { texts, connections, announcer, chosen, lesson, .. } = &mut self.model;
        if let Some(session) = lesson.as_mut().filter(|session| session.socket.id == id) {
            change(&mut session.socket);
            return self.tick();
        }
        let Some(at) = connections.iter().position(|connection| connection.id == id) else {
            return;
        };
        let connection = &mut connections[at];
        let before = connection.session.state().name();
        change(connection);
        let opened = matches!(connection.session.state(), State::Open { .. });
        if connection.sends_draft && connection.session.state().name() != before {
            connection.sends_draft &= matches!(connection.session.state(), State::Connecting);
            if opened {
                connection.send_draft(texts);
            }
        }
        let state = connection.session.state();
        if state.name() != before {
            announcer.set_state(connection.announcement(texts));
            // A user who has just connected writes a message next.
            let in_bar = [id::TOGGLE, id::ENDPOINT, id::PROTOCOL].contains(&&*browser::focused());
            if opened && at == *chosen && in_bar {
                browser::focus(id::MESSAGE);
            }
            self.tick();
        }
    }

    /// Connects if the page's URL says so.
    fn connect_at_start(&mut self) {
        if self.model.options.autoconnect {
            self.connect();
        }
    }

    fn connect(&mut self) {
        let connection = self.model.connection();
        let parsed = browser::location().parse_endpoint(&connection.form.endpoint);
        connection.form.problem = parsed.as_ref().err().copied();
        let Ok(url) = parsed else {
            connection.sends_draft = false;
            return browser::focus(id::ENDPOINT);
        };
        let protocols = parse_subprotocols(&connection.form.protocols);
        let id = connection.id;
        let default = self.model.pairing(&url);
        self.with_connection(id, |connection| {
            connection.set_pairing(default);
            connection.on_event(Event::Connect { url, protocols }, browser::now());
        });
    }

    /// Sets the pairing of connections that were made before the endpoints were known.
    fn update_pairing(&mut self) {
        for at in 0..self.model.connections.len() {
            let connection = &self.model.connections[at];
            let url = match connection.session.url() {
                "" => browser::location()
                    .parse_endpoint(&connection.form.endpoint)
                    .unwrap_or_default(),
                url => url.to_owned(),
            };
            let default = self.model.pairing(&url);
            self.model.connections[at].set_pairing(default);
        }
    }

    /// Does what is due, and sets the timer for what is due next.
    fn tick(&mut self) {
        let texts = self.model.texts;
        let attempt = self.server_events.tick(browser::now());
        if self.store_at.take_if(|at| *at <= browser::now()).is_some() {
            self.model.store();
        }
        let Model { connections, lesson, .. } = &mut self.model;
        let lesson = lesson.iter_mut().map(|session| &mut session.socket);
        let sockets = connections.iter_mut().chain(lesson);
        let next = earliest(sockets.map(|connection| connection.tick(texts)));
        if let Some(at) = earliest([next, attempt, self.store_at]) {
            self.wake_at(at);
        }
    }

    /// Makes the clock tick at this time or earlier.
    fn wake_at(&mut self, at: Millis) {
        if self.timer.is_some_and(|(_, due)| due <= at) {
            return;
        }
        if let Some((timer, _)) = self.timer {
            browser::cancel(timer);
        }
        let timer = browser::after((at - browser::now()).max(0.0), &self.clock);
        self.timer = Some((timer, at));
    }

    fn request_frame(&mut self) {
        if !std::mem::replace(&mut self.frame_requested, true) {
            browser::before_next_frame(&self.frame);
        }
    }

    /// Draws, unless the last frame took long: on a slow machine and under many messages every
    /// other frame is left to the browser.
    fn draw_or_skip(&mut self) {
        if std::mem::take(&mut self.skip_frame) {
            return self.request_frame();
        }
        let start = browser::now();
        self.draw();
        self.skip_frame = browser::now() - start > LONG_FRAME;
        self.painting.drew(&mut self.model, start);
    }

    /// Draws, and requests the next drawing at the earliest time that a part of the page wants.
    fn draw(&mut self) {
        let now = browser::now();
        let overdue = self.model.update_lesson(now);
        if self.model.pair_anew() {
            self.request_frame();
        }
        self.model.connections.iter_mut().for_each(Connection::update_matches);
        if self.painting.is_due(&mut self.model, now) {
            // The server may have reported their legs before the worker reported the replies.
            self.model.record_legs();
        }
        let removal = self.model.live.remove_ended(now);
        match earliest([self.screen.draw(&mut self.model, now), removal, overdue]) {
            Some(at) if at <= now => self.request_frame(),
            Some(at) => self.wake_at(at),
            None => {}
        }
    }
}
