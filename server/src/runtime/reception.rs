//! The end of the reception of connections or datagrams on a socket: the socket is closed, or left
//! to another process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::{CancellationToken, DropGuard};

/// The right to receive on a socket. The task that receives holds it, and drops it when it receives
/// nothing more.
#[derive(Debug)]
pub(crate) struct Reception {
    stop: CancellationToken,
    is_left: Arc<AtomicBool>,
    _ended: DropGuard,
}

/// Ends the reception on a socket.
#[derive(Debug)]
pub(crate) struct ReceptionEnd {
    stop: CancellationToken,
    is_left: Arc<AtomicBool>,
    ended: CancellationToken,
}

impl Reception {
    /// A reception that also ends when `stop` is cancelled.
    pub(crate) fn until(stop: CancellationToken) -> (Reception, ReceptionEnd) {
        let (ended, is_left) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let _ended = ended.clone().drop_guard();
        let reception = Reception { stop: stop.clone(), is_left: is_left.clone(), _ended };
        (reception, ReceptionEnd { stop, is_left, ended })
    }

    /// Waits until the reception has to end.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether connections or datagrams that wait in the kernel are left to another process.
    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }
}

impl ReceptionEnd {
    /// Ends the reception once everything that waits in the kernel is received.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Ends the reception at once, and leaves everything that waits in the kernel to another process.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
        self.stop.cancel();
    }

    /// Waits until nothing more is received.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
