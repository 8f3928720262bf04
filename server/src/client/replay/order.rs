//! The order of connections that are replayed without their times: a connection begins when all
//! those have ended that had ended before its beginning in the recording.

use tokio::sync::watch;

use crate::recording::model::RecordedConnection;

/// The connections that have ended, and the number that each connection waits for.
#[derive(Debug)]
pub(super) struct Order {
    /// The rank of each connection by its end.
    ranks: Vec<usize>,
    /// For each connection, the number of connections that it waits for. These are the first ones
    /// in the order of the recorded ends.
    required: Vec<usize>,
    ended: watch::Sender<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    /// Whether the connection of each rank has ended.
    ranks: Vec<bool>,
    /// The lowest rank of a connection that has not ended.
    all_before: usize,
}

impl Order {
    pub(super) fn new(connections: &[RecordedConnection]) -> Order {
        let end = |connection: &RecordedConnection| {
            let times = connection.events.iter().map(|event| event.time);
            times.fold(connection.start, u64::max)
        };
        let mut by_end: Vec<_> = (0..connections.len()).collect();
        by_end.sort_by_key(|index| end(&connections[*index]));
        let ends: Vec<_> = by_end.iter().map(|index| end(&connections[*index])).collect();
        let mut ranks = vec![0; connections.len()];
        for (rank, index) in by_end.iter().enumerate() {
            ranks[*index] = rank;
        }
        let before =
            |connection: &RecordedConnection| ends.partition_point(|end| *end < connection.start);
        let required = connections.iter().map(before).collect();
        let ended = Ended { ranks: vec![false; connections.len()], all_before: 0 };
        Order { ranks, required, ended: watch::Sender::new(ended) }
    }

    /// Waits until the connection at `index` may begin.
    pub(super) async fn may_begin(&self, index: usize) {
        let mut ended = self.ended.subscribe();
        // `self` has the sender, so that this cannot fail.
        ended.wait_for(|ended| ended.all_before >= self.required[index]).await.ok();
    }

    /// Records the end of the connection at `index`.
    pub(super) fn set_ended(&self, index: usize) {
        self.ended.send_modify(|ended| {
            ended.ranks[self.ranks[index]] = true;
            let new = ended.ranks[ended.all_before..].iter().take_while(|ended| **ended).count();
            ended.all_before += new;
        });
    }
}
