//! Events that the recorder has taken and not written yet.

use std::collections::BTreeMap;

use echogate_proto::recording::Lost;

use crate::recording::wire::{self, WireEvent, WireRecord};

/// Events that are not in a file yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// The events, in runs of one connection each.
    runs: Vec<Run>,
    /// The number of events, without those that the queue had lost.
    pub(super) events: u64,
}

/// Adjacent events of one connection.
#[derive(Debug, Default)]
struct Run {
    connection: u64,
    /// The events as a loss.
    lost: Lost,
    /// Whether the first event of the connection is among them.
    has_opened: bool,
}

impl Unwritten {
    pub(super) fn add(&mut self, record: &WireRecord) {
        let connection = record.connection;
        if self.runs.last().is_none_or(|run| run.connection != connection) {
            self.runs.push(Run { connection, ..Run::default() });
        }
        let Some(run) = self.runs.last_mut() else { return };
        let bytes = match &record.event {
            WireEvent::Lost(lost) => return run.lost += *lost,
            WireEvent::Bytes(_, payload) | WireEvent::Datagram(_, payload) => payload.len() as u64,
            WireEvent::Opened(_) => {
                run.has_opened = true;
                0
            }
            _ => 0,
        };
        run.lost += Lost { events: 1, bytes };
        self.events += 1;
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.events = 0;
    }

    /// The losses of connections. Those whose first event is among the events are missing altogether:
    /// they are counted together, one event each, under the identifier 0.
    pub(super) fn losses(self) -> impl Iterator<Item = WireRecord> {
        let mut of_connections: BTreeMap<u64, (Lost, bool)> = BTreeMap::new();
        for Run { connection, lost, has_opened } in self.runs {
            let (sum, begins) = of_connections.entry(connection).or_default();
            *sum += lost;
            *begins |= has_opened;
        }
        let mut all: BTreeMap<u64, Lost> = BTreeMap::new();
        for (connection, (lost, begins)) in of_connections {
            let (connection, lost) =
                if begins { (0, Lost { events: 1, ..lost }) } else { (connection, lost) };
            *all.entry(connection).or_default() += lost;
        }
        let time = wire::now();
        let record =
            move |(connection, lost)| WireRecord { time, connection, event: WireEvent::Lost(lost) };
        all.into_iter().map(record)
    }
}
