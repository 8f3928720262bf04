//! The page's model.

mod links;
mod settings;

use std::{cell::RefCell, rc::Rc};

use echogate_proto::api::Endpoints;

pub(super) use self::links::OPERATOR;
use self::links::Visits;
use super::{
    action::Action,
    browser,
    connection::{Connection, Source},
    following::Following,
    lesson::LessonSession,
    operator_session::OperatorSession,
};
use crate::{
    cards,
    composer::{Draft, history::History},
    format,
    i18n::{Language, Texts, fill},
    live::{self, ConnectionRow, Live},
    live_region::Announcer,
    location::StartOptions,
    pairing::Pairing,
    time::Millis,
};

/// The most connections side by side.
const MAX_CONNECTIONS: usize = 12;

/// The most clients that are followed at once. A browser opens 6 HTTP/1.1 connections to a server:
/// one carries the server's events, and one is left for other requests.
const MAX_FOLLOWED: usize = 4;

/// The time of a frame in which rows are paired anew, which may take a while: with pairing by a JSON
/// member each message is parsed.
const PAIRING_TIME: Millis = 8.0;
/// The rows that are paired between two readings of the clock.
const PAIRED_AT_ONCE: u64 = 200;

/// The page's model.
pub(super) struct Model {
    pub(super) texts: &'static Texts,
    pub(super) options: StartOptions,
    pub(super) connections: Vec<Connection>,
    /// The index of the chosen connection.
    pub(super) chosen: usize,
    next_id: u32,
    pub(super) live: Live,
    pub(super) endpoints: Endpoints,
    /// The endpoint of new connections.
    default_endpoint: String,
    /// The messages that the user saved.
    pub(super) saved: Vec<Draft>,
    history: Rc<RefCell<History>>,
    visits: Visits,
    /// The settings as they were stored last.
    stored: String,
    pub(super) announcer: Announcer,
    pub(super) operator: OperatorSession,
    pub(super) lesson: Option<LessonSession>,
    /// Whether the next command to remove the chosen connection removes it though it is open.
    pub(super) asks_before_removal: bool,
}

impl Model {
    pub(super) fn new(language: Language, options: StartOptions) -> Model {
        let mut model = Model {
            texts: language.texts(),
            connections: Vec::new(),
            default_endpoint: "/ws".to_owned(),
            saved: Vec::new(),
            history: Rc::default(),
            visits: Visits::default(),
            stored: String::new(),
            options,
            chosen: 0,
            next_id: 0,
            live: Live::default(),
            endpoints: Endpoints::default(),
            announcer: Announcer::default(),
            operator: OperatorSession::default(),
            lesson: None,
            asks_before_removal: false,
        };
        model.restore();
        model.load_fragment();
        model.set_language(language);
        model
    }

    /// Uses the texts of a language; notes it if they could not be loaded.
    pub(super) fn set_language(&mut self, language: Language) {
        self.texts = language.texts();
        self.connection().view.note.clear();
        // The search finds what rows say.
        self.connections.iter_mut().for_each(|connection| connection.view.refresh_filter());
        if self.texts.language != language {
            let note = fill(self.texts.language_missing, &[language.name()]);
            self.connection().view.note = note;
        }
    }

    /// Ends what lasts until the user's next action: notes, and a removal that has to be confirmed.
    pub(super) fn begin_action(&mut self, action: Action) {
        if action != Action::ScrollTranscript {
            self.connection().view.note.clear();
            self.asks_before_removal &= action == Action::RemoveConnection;
        }
    }

    /// Adds a connection and chooses it.
    pub(super) fn add_connection(&mut self) -> &mut Connection {
        let connection = self.unlisted_connection();
        self.connections.push(connection);
        self.chosen = self.connections.len() - 1;
        self.connection()
    }

    /// A new connection that is not in the list.
    pub(super) fn unlisted_connection(&mut self) -> Connection {
        let id = self.next_id;
        self.next_id += 1;
        Connection::new(id, &self.options, &self.default_endpoint, self.history.clone())
    }

    /// The page's connections with sockets, that of the lesson included.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().chain(self.lesson.as_ref().map(|lesson| &lesson.socket))
    }

    /// Whether there may be one more connection; notes the limit if there may not.
    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.connections.len() < MAX_CONNECTIONS;
        if !has_room {
            self.texts.too_many_connections.clone_into(&mut self.connection().view.note);
        }
        has_room
    }

    /// Follows a client of the server, in a tab of its own. A client that has ended is shown in the tab
    /// in which it was followed, if any.
    pub(super) fn follow(&mut self, client: u64) {
        let Some(row) = self.live.rows().find(|row| row.connection.id == client) else { return };
        if let Some(at) = self.tab_of(row) {
            self.chosen = at;
            return;
        }
        let client = row.connection.clone();
        let peer = client.peer.as_deref().unwrap_or("–");
        let name = format!("{} {peer} → {}", format::transport_name(client.kind), client.target);
        if self.may_follow() {
            let connection = self.add_connection();
            connection.source = Source::Client(Following::start(&client, name, connection.id));
        }
    }

    /// The tab in which a client is followed, or was followed until its end.
    pub(super) fn tab_of(&self, row: &ConnectionRow) -> Option<usize> {
        self.connections.iter().position(|connection| match &connection.source {
            Source::Client(following) => {
                following.client == row.connection.id
                    && (following.is_live() || row.ended.is_some())
            }
            _ => false,
        })
    }

    /// Whether one more client may be followed in a tab of its own; notes the limit if not.
    pub(super) fn may_follow(&mut self) -> bool {
        let followed = |it: &&Connection| matches!(&it.source, Source::Client(it) if it.is_live());
        if self.connections.iter().filter(followed).count() >= MAX_FOLLOWED {
            self.texts.too_many_followed.clone_into(&mut self.connection().view.note);
            return false;
        }
        self.has_room()
    }

    /// Takes the server's endpoints. The first route that the page offers is the default of connections
    /// whose endpoint was not chosen.
    pub(super) fn set_endpoints(&mut self, endpoints: Endpoints) {
        if let Some(route) = live::offered_routes(&endpoints).next() {
            route.path.trim_end_matches('*').clone_into(&mut self.default_endpoint);
        }
        self.endpoints = endpoints;
        for connection in &mut self.connections {
            if connection.form.is_default {
                connection.form.endpoint.clone_from(&self.default_endpoint);
            }
        }
    }

    /// Whether the server has a route to the operators' side of `chat`.
    pub(super) fn has_operator(&self) -> bool {
        self.endpoints.routes.iter().any(|route| live::is_operator(&self.endpoints, route))
    }

    /// The command by which a client reaches a service, if the server listens for it.
    pub(super) fn command_for(&self, service: &str) -> Option<String> {
        cards::command_for(&self.endpoints, &browser::location(), service)
    }

    /// The service that a URL leads to, if the server's endpoints say.
    pub(super) fn service(&self, url: &str) -> Option<&str> {
        live::service_of_path(&self.endpoints, browser::location().local_path(url)?)
    }

    /// The rule for pairing the replies at a URL, unless the user chooses another one.
    pub(super) fn pairing(&self, url: &str) -> Pairing {
        let path = browser::location().local_path(url).map(str::to_owned);
        path.map_or(Pairing::None, |path| live::pairing_of(&self.endpoints, &path))
    }

    /// Passes the legs that the server has reported to the exchanges of the connections.
    pub(super) fn record_legs(&mut self) {
        let Model { connections, live, endpoints, .. } = self;
        for connection in connections {
            let Some(row) = live.with_label(&connection.label) else { continue };
            let route = live::route(endpoints, &row.connection.target);
            let as_lines = route.is_some_and(|route| route.framing == "line");
            for reported in [Some(row), live.upstream_of(row)].into_iter().flatten() {
                if let Some(legs) = reported.connection.carried.legs {
                    connection.session.exchanges_mut().reported(legs, as_lines);
                }
            }
        }
    }

    /// Applies new rules for pairing to rows of the connections, for a part of a frame; returns
    /// whether rows are left.
    pub(super) fn pair_anew(&mut self) -> bool {
        let end = browser::now() + PAIRING_TIME;
        self.connections.iter_mut().any(|connection| {
            while connection.session.pair_anew(PAIRED_AT_ONCE) {
                if browser::now() > end {
                    return true;
                }
            }
            false
        })
    }

    /// The chosen connection. There is always one.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connections[self.chosen]
    }
}
