//! A subscription to the changes of the other replicas.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::TryRecvError};

use super::{Change, Replicas};

/// A subscription to the changes of the other replicas, which report their connections while there
/// is at least one subscription.
#[derive(Debug)]
pub(crate) struct Watch {
    replicas: Replicas,
    changes: broadcast::Receiver<Arc<Change>>,
}

impl Watch {
    pub(super) fn new(replicas: Replicas, changes: broadcast::Receiver<Arc<Change>>) -> Watch {
        Watch { replicas, changes }
    }

    /// The changes since the last call; `None` if the connections are to be listed again.
    pub(crate) fn changes(&mut self) -> Option<Vec<Arc<Change>>> {
        let mut changes = Vec::new();
        loop {
            match self.changes.try_recv() {
                Ok(change) if !matches!(*change, Change::All) => changes.push(change),
                Ok(_) | Err(TryRecvError::Lagged(_)) => {
                    self.changes = self.changes.resubscribe();
                    return None;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(changes),
            }
        }
    }

    pub(crate) async fn changed(&mut self) {
        self.changes.recv().await.ok();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.replicas.stop_watching();
    }
}
