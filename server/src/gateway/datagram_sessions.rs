//! Sessions of a bound datagram socket: the datagrams of one sender to one local address, as a
//! transport of messages for a relay. For tasks of the runtime, not of an event loop.
//!
//! A socket has one task, and each session a bounded queue: a datagram for a session whose queue is
//! full is dropped and counted.
//!
//! ```text
//! open ──no datagram in either direction for 30 s──▶ ended ──for 30 s more──▶ failed
//!   └──end of the upstream's output, socket closed────▲
//! ```
//!
//! The input of a session that has ended ends after the datagrams in its queue. Replies are still
//! sent, until it has failed. The sender's next datagram opens another session.

mod session;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

pub(crate) use self::session::DatagramSession;
use self::session::SessionQueue;
use crate::{
    connections::counters::Counters,
    net::{
        datagram_reception::{Receiver, receive_all},
        datagram_socket::{DatagramAddresses, DatagramSocket, Sender},
    },
    runtime::reception::Reception,
};

/// The time without a datagram in either direction after which a session has ended, and after which
/// a session that has ended has failed.
const IDLE: Duration = Duration::from_secs(30);

/// The time for replies to the last datagrams when the socket is closed.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// Receives datagrams until the reception is stopped, and passes each to its sender's session. `open`
/// is called with the first datagram of a session. It returns true if a relay of the session was
/// started, and false if the session was refused; then the datagram is dropped, and `open` is called
/// with the next one. After the reception the sessions end; those that are left two seconds later
/// have failed.
pub(crate) async fn serve(
    socket: Arc<DatagramSocket>,
    open: impl FnMut(Sender, DatagramSession) -> bool + Send,
    counters: Arc<Counters>,
    reception: Reception,
) {
    let mut sessions = Sessions {
        socket: socket.clone(),
        counters,
        open,
        live: HashMap::new(),
        ended: Vec::new(),
        tracker: TaskTracker::new(),
    };
    receive_all(&socket, &reception, &mut sessions).await;
    drop(reception);
    sessions.end_all().await;
}

struct Sessions<F> {
    socket: Arc<DatagramSocket>,
    counters: Arc<Counters>,
    open: F,
    live: HashMap<DatagramAddresses, Arc<SessionQueue>>,
    /// Sessions that have ended, while their relays may go on.
    ended: Vec<Arc<SessionQueue>>,
    /// Waits for the end of all sessions.
    tracker: TaskTracker,
}

impl<F: FnMut(Sender, DatagramSession) -> bool + Send> Receiver for Sessions<F> {
    /// Passes the datagram to its session, or counts it as dropped.
    async fn receive(&mut self, buffer: &mut [u8], len: usize, from: Sender) {
        if len == buffer.len() || !self.pass_on(&buffer[..len], from) {
            self.counters.datagram_dropped();
        }
    }

    /// Ends idle sessions, and removes those that have ended.
    fn sweep(&mut self) {
        let now = Instant::now();
        let is_idle = |_: &DatagramAddresses, queue: &mut Arc<SessionQueue>| {
            if queue.idle_time(now) >= IDLE {
                queue.end();
            }
            !queue.is_open()
        };
        self.ended.extend(self.live.extract_if(is_idle).map(|(_, queue)| queue));
        self.ended.retain(|queue| {
            let has_failed = queue.idle_time(now) >= 2 * IDLE;
            if has_failed {
                queue.fail();
            }
            !has_failed && !queue.is_dropped()
        });
    }
}

impl<F: FnMut(Sender, DatagramSession) -> bool> Sessions<F> {
    /// Passes a datagram to its sender's session, which is opened if there is none. False if the queue of
    /// the session is full. A session that is refused counts its datagram as dropped by itself.
    fn pass_on(&mut self, datagram: &[u8], from: Sender) -> bool {
        let addresses = from.addresses();
        if let Some(queue) = self.live.get(&addresses) {
            if let Some(is_queued) = queue.push(datagram) {
                return is_queued;
            }
            self.ended.extend(self.live.remove(&addresses));
        }
        let queue = Arc::new(SessionQueue::new());
        queue.push(datagram);
        let session = DatagramSession::new(
            self.socket.clone(),
            from.clone(),
            queue.clone(),
            self.counters.clone(),
            self.tracker.token(),
        );
        if (self.open)(from, session) {
            self.live.insert(addresses, queue);
        }
        true
    }

    async fn end_all(mut self) {
        self.ended.extend(self.live.into_values());
        self.ended.iter().for_each(|queue| queue.end());
        self.tracker.close();
        timeout(LAST_REPLIES, self.tracker.wait()).await.ok();
        self.ended.iter().for_each(|queue| queue.fail());
    }
}

#[cfg(test)]
mod tests;
