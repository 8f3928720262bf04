//! `--cluster`: replicas that know each other over a NATS broker.
//!
//! ```text
//! Cluster ── task ── connection ── session ┬─ heartbeats ── members
//!   │                                      ├─ chat ── outbox
//!   │                                      └─ reports
//!   └─ state, counters, members: for /readyz and /metrics
//! ```
//!
//! All of this runs in tokio. Without a broker a replica serves its own clients, and the task keeps
//! trying to connect. Queues are bounded, and nothing on the data path waits for the broker.
//!
//! - `connection`: the connection to a server of the broker; `state`: its state, and the counters
//! - `inbox`: the messages of a subscription that wait to be read
//! - `session`: subjects, messages, heartbeats; `members`: the replicas that have sent heartbeats
//! - `chat`: events and snapshots of conversations, with the `messages` that carry them; `outbox`:
//!   messages of operators that are not confirmed
//! - `reports`: the connections of all replicas

mod chat;
mod connection;
mod inbox;
mod members;
mod messages;
mod outbox;
mod reports;
mod session;
mod state;

use std::{
    io, process,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::unistd::gethostname;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    chat::ChatReplication,
    connection::{Connection, connect},
    session::Session,
};
pub(crate) use self::{
    members::Member,
    state::{ClusterState, Counters},
};
use crate::{
    config::ClusterSettings,
    connections::replicas::{ReplicaId, Replicas},
    runtime::backoff,
    service::chat::Hub,
};

/// The time limit of publishing the last events and the last heartbeat.
const LEAVE: Duration = Duration::from_millis(500);

/// The handle by which this process joins and leaves a cluster. Clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    shared: Arc<LocalReplica>,
    running: Arc<Mutex<Option<Running>>>,
}

/// The task that is connected to a broker.
#[derive(Debug)]
struct Running {
    settings: ClusterSettings,
    task: JoinHandle<()>,
    /// Stops the task when dropped.
    stop: DropGuard,
}

/// This process as a replica: the state that the task shares with the rest of the server.
#[derive(Debug)]
struct LocalReplica {
    id: ReplicaId,
    name: String,
    state: watch::Sender<ClusterState>,
    members: watch::Sender<Vec<Member>>,
    hub: Arc<Hub>,
    /// The replication of `chat`, once this replica has joined a cluster. A task holds the lock
    /// while it runs. The next task, after a reload or a panic, waits for the lock and continues
    /// the replication.
    replication: tokio::sync::Mutex<Option<ChatReplication>>,
    counters: Counters,
    replicas: Replicas,
}

impl Cluster {
    /// A handle that is not connected to a broker.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn new(hub: Arc<Hub>, replicas: &Replicas) -> io::Result<Cluster> {
        let host = gethostname().map(|name| name.to_string_lossy().into_owned());
        let host = host.unwrap_or_else(|_| "localhost".to_owned());
        let shared = LocalReplica {
            id: ReplicaId::random()?,
            name: format!("{host}/{}", process::id()),
            state: watch::Sender::default(),
            members: watch::Sender::default(),
            hub,
            replication: tokio::sync::Mutex::default(),
            counters: Counters::default(),
            replicas: replicas.clone(),
        };
        Ok(Cluster { shared: shared.into(), running: Arc::default() })
    }

    /// Starts the task that connects to the broker of `settings`, if the settings have changed or
    /// the task has panicked. The former task leaves its cluster first.
    pub(crate) fn apply(&self, settings: Option<&ClusterSettings>) {
        let mut running = self.running.lock();
        let alive = running.as_ref().filter(|running| !running.task.is_finished());
        if alive.map(|running| &running.settings) == settings {
            return;
        }
        *running = settings.cloned().map(|settings| {
            let stop = CancellationToken::new();
            let (shared, of_task, stopped) = (self.shared.clone(), settings.clone(), stop.clone());
            let task = tokio::spawn(async move { run(&shared, &of_task, &stopped).await });
            Running { settings, task, stop: stop.drop_guard() }
        });
    }

    /// Leaves the cluster, within twice [`LEAVE`].
    pub(crate) async fn leave(&self) {
        let running = self.running.lock().take();
        if let Some(Running { stop, task, .. }) = running {
            drop(stop);
            timeout(2 * LEAVE, task).await.ok();
        }
    }

    pub(crate) fn state(&self) -> ClusterState {
        self.shared.state.borrow().clone()
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.shared.members.borrow().clone()
    }

    /// The number of messages of clients here that another replica is to confirm.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.shared.hub.unconfirmed()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl LocalReplica {
    /// Reports that there is no connection, and logs the reason if it has changed.
    fn disconnected(&self, reason: &str) {
        self.members.send_replace(Vec::new());
        self.replicas.set_connected(false, Instant::now());
        let is_new = self.state.send_if_modified(|state| state.disconnect(reason));
        if is_new {
            tracing::warn!("cluster: no connection to the broker: {reason}");
        }
    }

    /// Sets the problem of the connection. Returns whether the problem has changed.
    fn set_problem(&self, problem: &str) -> bool {
        self.state.send_if_modified(|state| state.set_problem(problem))
    }

    /// Sets the problem of the connection, and logs the problem if it has changed.
    fn log_problem(&self, problem: &str) {
        if self.set_problem(problem) {
            tracing::warn!("cluster: {problem}");
        }
    }
}

/// Keeps a session with the broker, over one connection after the other, until `stop`.
async fn run(shared: &Arc<LocalReplica>, settings: &ClusterSettings, stop: &CancellationToken) {
    let url = &settings.url;
    // The lock outlives `_membership`.
    let mut replication = shared.replication.lock().await;
    let _membership = Membership(shared);
    shared.state.send_replace(ClusterState::connecting(url));
    let replication =
        replication.get_or_insert_with(|| ChatReplication::new(shared.hub.join(shared.id)));
    shared.replicas.set_own(Some((*shared.name).into()));
    let mut attempt = 0;
    let session = async {
        for server in url.servers.iter().cycle() {
            match connect(shared, settings, server).await {
                Ok(connection) => {
                    attempt = 0;
                    shared.state.send_modify(|state| state.connect(server));
                    tracing::info!(
                        "cluster: connected to {server} as replica {} ({}) of {}",
                        shared.name,
                        shared.id,
                        url.name
                    );
                    let reason =
                        run_session(shared, replication, connection, &url.name, stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    shared.disconnected(&reason);
                }
                Err(reason) => shared.disconnected(&reason),
            }
            attempt += 1;
            sleep(backoff::delay(attempt)).await;
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

/// A guard for the membership in a cluster, which ends when the guard is dropped, also by a panic.
struct Membership<'a>(&'a LocalReplica);

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.0.members.send_replace(Vec::new());
        self.0.hub.remove_gone(&[]);
        self.0.state.send_replace(ClusterState::Off);
        self.0.replicas.set_own(None);
    }
}

/// A guard for the replication over one connection. When it is dropped, also by a panic or at the
/// end of [`LEAVE`], all messages that are not confirmed are given up.
struct Connected<'a> {
    shared: &'a LocalReplica,
    replication: &'a mut ChatReplication,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.replication.disconnected(self.shared);
    }
}

/// Runs a session until the connection is lost or `stop`. Returns the reason of its end.
async fn run_session(
    shared: &Arc<LocalReplica>,
    replication: &mut ChatReplication,
    connection: Connection,
    cluster: &str,
    stop: &CancellationToken,
) -> String {
    let Connection { client, lost } = connection;
    let session = Session::new(shared, client, cluster, replication.feed.operators.clone());
    let connected = Connected { shared, replication };
    shared.replicas.set_connected(true, Instant::now());
    let ended = tokio::select! {
        () = lost.cancelled() => Ok(()),
        () = stop.cancelled() => Ok(()),
        ended = session.exchange_heartbeats() => ended,
        ended = connected.replication.run(&session) => ended,
        ended = reports::watch(&session, &shared.replicas) => ended,
        ended = reports::report(&session, &shared.replicas) => ended,
    };
    if stop.is_cancelled() {
        connected.replication.finish(&session).await;
        session.leave().await;
    }
    drop(connected);
    let reason = "the connection is lost: the broker has closed it, or does not answer";
    ended.err().unwrap_or_else(|| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connections::registry::Registry, service::chat::Token};

    #[tokio::test]
    async fn a_task_that_has_panicked_is_started_again_by_the_same_settings() {
        let hub = Arc::new(Hub::new(Token::random().unwrap()));
        let replicas = Replicas::new(Registry::default());
        let cluster = Cluster::new(hub, &replicas).unwrap();
        let url = "nats://127.0.0.1:1".parse().unwrap();
        let settings = ClusterSettings { url, tls: None };
        let task = tokio::spawn(async { panic!("the task of a test") });
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        let stop = CancellationToken::new().drop_guard();
        *cluster.running.lock() = Some(Running { settings: settings.clone(), task, stop });
        cluster.apply(Some(&settings));
        assert!(!cluster.running.lock().as_ref().unwrap().task.is_finished());
        cluster.leave().await;
    }
}
