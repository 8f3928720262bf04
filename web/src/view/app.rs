//! The page's state and clock: events change the model at once, and the screen is drawn once
//! before the next frame.

mod clock;
mod connections;

use std::cell::RefCell;

use wasm_bindgen::closure::Closure;

use super::{
    browser,
    command::Command,
    composer,
    dispatch::{self, Message},
    dom::{document, id},
    draft_settings, file_panel, first_run, header, ladder_panel, lesson_panel,
    model::{Model, OPERATOR},
    operator_panel,
    painting::Painting,
    repetition,
    screen::Screen,
    server_events::ServerEvents,
    share_menu, sidebar,
    socket::{self, SocketEvent},
    transcript_file, transcript_input, url_bar,
    user_event::{HASH_CHANGE, Listeners, UserEvent},
};
use crate::{i18n::Language, session::Event, time::Millis, wire};

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

/// The wait after an action of the user before the settings are stored: not while a message that was
/// just sent is on its way.
const STORE_AFTER: Millis = 200.0;

/// The page.
struct App {
    model: Model,
    screen: Screen,
    /// The language that was chosen last; its texts may still be loading.
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
            // The URL bar, with which a user begins, stays in view.
            browser::focus_in_place(id::MESSAGE);
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

/// Changes the page, and draws it before the next frame. A hidden page has no frames.
fn with_app(change: impl FnOnce(&mut App)) {
    with_app_undrawn(|app| {
        change(app);
        app.request_frame();
        if document().hidden() {
            app.screen.draw_title(&mut app.model);
        }
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
                |event| {
                    with_app(|app| {
                        if event == HASH_CHANGE {
                            app.model.follow_fragment();
                        }
                        app.model.store();
                    });
                },
                || {
                    let mut is_lost = false;
                    with_app_undrawn(|app| is_lost = app.model.is_lost_by_reload());
                    is_lost
                },
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
}
