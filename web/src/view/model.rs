//! The page's model.

use echogate_proto::api::Endpoints;

use super::{browser, connection::Connection, operator_session::OperatorSession};
use crate::{
    i18n::Texts,
    live::{self, Live},
    live_region::Announcer,
    location::StartOptions,
    pairing::Pairing,
};

/// The most connections side by side.
pub(super) const MAX_CONNECTIONS: usize = 12;

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
    pub(super) announcer: Announcer,
    pub(super) operator: OperatorSession,
}

impl Model {
    pub(super) fn new(texts: &'static Texts, options: StartOptions) -> Model {
        Model {
            texts,
            connections: vec![Connection::new(0, &options)],
            options,
            chosen: 0,
            next_id: 1,
            live: Live::default(),
            endpoints: Endpoints::default(),
            announcer: Announcer::default(),
            operator: OperatorSession::default(),
        }
    }

    /// Adds a connection and chooses it.
    pub(super) fn add_connection(&mut self) -> &mut Connection {
        let id = self.next_id;
        self.next_id += 1;
        self.connections.push(Connection::new(id, &self.options));
        self.chosen = self.connections.len() - 1;
        self.connection()
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

    /// The chosen connection. There is always one.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connections[self.chosen]
    }
}
