//! `--cluster`: replicas that know each other over a NATS broker.
//!
//! ```text
//! Cluster ── task ── connection ── session ┬─ heartbeats ── members
//!   │                                      └─ chat: the exchange of events and messages
//!   └─ state, counters, members: for /readyz and /metrics
//! ```
//!
//! All of it runs in tokio. Without a broker a replica is a server of its own, and the task connects
//! again for ever. Queues are bounded, and nothing on the data path waits for the broker.

mod chat;
mod connection;
mod members;
mod messages;
mod outbox;
mod reports;
mod session;
mod state;

use std::{
    io, process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use echogate_proto::backoff;
use nix::unistd::gethostname;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    chat::Exchange,
    connection::{Connection, connect},
    session::Session,
};
pub(crate) use self::{
    members::Member,
    state::{ClusterState, Counters},
};
use crate::{
    config::ClusterSettings,
    connections::{replica::ReplicaId, replicas::Replicas},
    service::chat::Hub,
};

/// The time in which the last heartbeat must be written.
const LEAVE: Duration = Duration::from_millis(500);

/// This process as a replica. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    running: Arc<Mutex<Option<Running>>>,
}

/// The task that is connected to a broker.
#[derive(Debug)]
struct Running {
    settings: ClusterSettings,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the task shares with the rest of the server.
#[derive(Debug)]
struct Shared {
    id: ReplicaId,
    name: String,
    state: watch::Sender<ClusterState>,
    members: watch::Sender<Vec<Member>>,
    hub: Arc<Hub>,
    /// What this replica has exchanged with others of `chat`, once it has joined a cluster.
    exchange: tokio::sync::Mutex<Option<Exchange>>,
    counters: Counters,
    /// The connections of replicas.
    replicas: Replicas,
}

impl Cluster {
    /// A process without a broker.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn new(hub: Arc<Hub>, replicas: &Replicas) -> io::Result<Cluster> {
        let host = gethostname().map(|name| name.to_string_lossy().into_owned());
        let host = host.unwrap_or_else(|_| "localhost".to_owned());
        let shared = Shared {
            id: ReplicaId::random()?,
            name: format!("{host}/{}", process::id()),
            state: watch::Sender::default(),
            members: watch::Sender::default(),
            hub,
            exchange: tokio::sync::Mutex::default(),
            counters: Counters::default(),
            replicas: replicas.clone(),
        };
        Ok(Cluster { shared: shared.into(), running: Arc::default() })
    }

    /// Connects to the broker of `settings` in the background; leaves the one before, if that is
    /// another one.
    pub(crate) fn apply(&self, settings: Option<&ClusterSettings>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().map(|it| &it.settings) == settings {
            return;
        }
        let before = running.take();
        if let Some(before) = &before {
            before.stop.cancel();
        }
        *running = settings.cloned().map(|settings| {
            let stop = CancellationToken::new();
            let (shared, stopped, of_task) = (self.shared.clone(), stop.clone(), settings.clone());
            let task = tokio::spawn(async move {
                if let Some(before) = before {
                    before.task.await.ok();
                }
                run(&shared, &of_task, &stopped).await;
            });
            Running { settings, stop, task }
        });
    }

    /// Leaves the cluster.
    pub(crate) async fn leave(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, task, .. }) = running {
            stop.cancel();
            timeout(2 * LEAVE, task).await.ok();
        }
    }

    /// How the connection to the broker is.
    pub(crate) fn state(&self) -> ClusterState {
        self.shared.state.borrow().clone()
    }

    /// The other replicas.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.shared.members.borrow().clone()
    }

    /// The counters of messages.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Shared {
    /// Reports that there is no connection, in the log where the reason is another one than before.
    fn disconnected(&self, reason: &str) {
        self.members.send_replace(Vec::new());
        self.replicas.set_connected(false, Instant::now());
        let is_new = self.state.send_if_modified(|state| state.disconnect(reason));
        if is_new {
            tracing::warn!("cluster: no connection to the broker: {reason}");
        }
    }

    /// Reports a replica whose messages cannot be understood.
    fn incompatible(&self, which: &str) {
        self.state.send_if_modified(|state| state.report(which));
    }
}

/// Connects to the broker, again for ever, until `stop`.
async fn run(shared: &Arc<Shared>, settings: &ClusterSettings, stop: &CancellationToken) {
    let url = &settings.url;
    let _membership = Membership(shared);
    shared.state.send_replace(ClusterState::connecting(url));
    let mut exchange = shared.exchange.lock().await;
    let exchange = exchange.get_or_insert_with(|| Exchange::new(shared.hub.join(shared.id)));
    shared.replicas.set_own(Some((*shared.name).into()));
    let mut attempt = 0;
    let session = async {
        for server in url.servers.iter().cycle() {
            match connect(settings, server, &shared.name).await {
                Ok(connection) => {
                    attempt = 0;
                    shared.state.send_modify(|state| state.connect(server));
                    tracing::info!(
                        "cluster: connected to {server} as replica {} ({}) of {}",
                        shared.name,
                        shared.id,
                        url.name
                    );
                    let reason = run_session(shared, exchange, connection, &url.name, stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    shared.disconnected(&reason);
                }
                Err(reason) => shared.disconnected(&reason),
            }
            attempt += 1;
            sleep(backoff::delay(attempt, jitter())).await;
        }
    };
    tokio::pin!(session);
    tokio::select! {
        () = &mut session => {}
        () = stop.cancelled() => {
            // The session sends its last heartbeat.
            timeout(LEAVE, &mut session).await.ok();
        }
    }
}

/// The membership in a cluster. When it is dropped, after a panic too, no other replica is known.
struct Membership<'a>(&'a Shared);

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.0.members.send_replace(Vec::new());
        self.0.hub.remove_gone(&[]);
        self.0.state.send_replace(ClusterState::Off);
        self.0.replicas.set_own(None);
    }
}

/// The exchange over one connection. When it is dropped, after a panic or by a broker that is not
/// waited for too, what is not confirmed is given up.
struct Connected<'a> {
    shared: &'a Shared,
    exchange: &'a mut Exchange,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.exchange.disconnected(self.shared);
    }
}

/// Runs a session until the connection is lost or `stop`. Returns why it has ended.
async fn run_session(
    shared: &Arc<Shared>,
    exchange: &mut Exchange,
    connection: Connection,
    cluster: &str,
    stop: &CancellationToken,
) -> String {
    let Connection { client, lost, mut problem, mut unread } = connection;
    let session = Session::new(shared, client, cluster, exchange.feed.operators.clone());
    let connected = Connected { shared, exchange };
    shared.replicas.set_connected(true, Instant::now());
    let reports = async {
        loop {
            tokio::select! {
                Ok(()) = problem.changed() => {
                    let problem = problem.borrow_and_update().clone().unwrap_or_default();
                    tracing::warn!("cluster: the broker reports: {problem}");
                    shared.state.send_if_modified(|state| state.report(&format!("the broker reports: {problem}")));
                }
                Ok(()) = unread.changed() => shared.counters.dropped(1),
                else => std::future::pending().await,
            }
        }
    };
    let ended = tokio::select! {
        () = lost.cancelled() => Ok(()),
        () = stop.cancelled() => Ok(()),
        ended = session.exchange_heartbeats() => ended,
        ended = connected.exchange.run(&session) => ended,
        ended = reports::watch(&session, &shared.replicas) => ended,
        ended = reports::report(&session, &shared.replicas) => ended,
        () = reports => Ok(()),
    };
    if stop.is_cancelled() {
        connected.exchange.finish(&session).await;
        session.leave().await;
    }
    drop(connected);
    let reason = "the connection is lost: the broker has closed it, or does not answer";
    ended.err().unwrap_or_else(|| reason.to_owned())
}

/// A random number from 0 to 1.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
