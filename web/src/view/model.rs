//! What the page knows.

use echogate_proto::live::Endpoints;

use super::{browser, operator, wire::Wire};
use crate::{
    announce::Announcer,
    live::{self, Live},
    place::Start,
    words::Words,
};

/// The most connections side by side.
pub(super) const MAX_WIRES: usize = 12;

/// What the page knows.
pub(super) struct Model {
    pub(super) words: &'static Words,
    pub(super) start: Start,
    pub(super) wires: Vec<Wire>,
    pub(super) chosen: usize,
    next_wire: u32,
    pub(super) live: Live,
    pub(super) endpoints: Endpoints,
    pub(super) announcer: Announcer,
    pub(super) desk: operator::Model,
}

impl Model {
    pub(super) fn new(words: &'static Words, start: Start) -> Model {
        Model {
            words,
            wires: vec![Wire::new(0, &start)],
            start,
            chosen: 0,
            next_wire: 1,
            live: Live::default(),
            endpoints: Endpoints::default(),
            announcer: Announcer::default(),
            desk: operator::Model::default(),
        }
    }

    /// Adds a connection and chooses it.
    pub(super) fn add_wire(&mut self) -> &mut Wire {
        let id = self.next_wire;
        self.next_wire += 1;
        self.wires.push(Wire::new(id, &self.start));
        self.chosen = self.wires.len() - 1;
        self.wire()
    }

    /// The service that a URL leads to, if the server has told of it.
    pub(super) fn service(&self, url: &str) -> Option<&str> {
        live::service(&self.endpoints, browser::place().path(url)?)
    }

    /// The chosen connection. There is always one.
    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wires[self.chosen]
    }
}
