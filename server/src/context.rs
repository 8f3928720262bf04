//! The server context: what all connections share.

use std::{io, net::IpAddr, sync::Arc, time::SystemTime};

use echogate_event_loop::EventLoops;
use echogate_proto::{
    api::{Endpoints, Kind},
    recording::Opened,
};
use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::Cluster,
    config::Settings,
    connections::{
        counters::Counters,
        limits::{Limits, share::Shares},
        registry::{Entry, Peer, Registry},
        replicas::Replicas,
        tap::{Budget, Sides},
        target::{ConnectionTarget, TargetMetrics},
    },
    net::{hairpin::Hairpins, hops::Hops},
    recorder::Recorder,
    runtime::{drain::Drain, loop_lag::LoopLag},
    service::{backend::ServiceInstance, chat::Hub},
    trace::Spans,
};

/// Subscribers of `/api/events` at once: in all, and of one address.
const MAX_SUBSCRIBERS: (usize, usize) = (64, 16);

/// Responses to `/api/connections` under way at once: in all, and to one address.
const MAX_LISTINGS: (usize, usize) = (64, 16);

/// Observers of connections by `/api/connections/ID/tap` at once: in all, and of one address.
const MAX_TAPS: (usize, usize) = (64, 16);

/// Bytes that wait for all of these observers together.
const MAX_TAP_BYTES: usize = 16 << 20;

/// The state that all connections share. The first three fields belong to one configuration, the
/// others live as long as the server. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ServerContext {
    /// The settings in force when the connection was accepted.
    pub(crate) settings: Settings,
    /// The listeners and routes under these settings.
    pub(crate) endpoints: Endpoints,
    /// The metrics of these routes and forwards.
    pub(crate) targets: Vec<Arc<TargetMetrics>>,
    pub(crate) limits: Arc<Limits>,
    /// Counters of what was refused or lost.
    pub(crate) counters: Arc<Counters>,
    /// The name of this process in the header field `Via`.
    pub(crate) hops: Hops,
    /// Connections of bridges to this server's own listeners.
    pub(crate) hairpins: Hairpins,
    /// The threads that carry established connections.
    pub(crate) loops: EventLoops,
    /// The time that these threads take to run a task that is ready.
    pub(crate) loop_lag: LoopLag,
    pub(crate) registry: Registry,
    pub(crate) spans: Spans,
    /// The connections of other replicas.
    pub(crate) replicas: Replicas,
    pub(crate) recorder: Recorder,
    /// Connections to the built-in services.
    pub(crate) services: ConnectionGroup,
    /// WebSocket connections.
    pub(crate) bridges: ConnectionGroup,
    /// HTTP connections that have not become WebSockets.
    pub(crate) http: ConnectionGroup,
    /// Permits of the subscribers of `/api/events`.
    pub(crate) subscribers: Arc<Shares>,
    /// Permits of responses to `/api/connections`.
    pub(crate) listings: Arc<Shares>,
    /// Permits of the observers by `/api/connections/ID/tap`.
    pub(crate) taps: Arc<Shares>,
    /// The events that wait for these observers.
    pub(crate) tap_budget: Arc<Budget>,
    /// The conversations of `chat`, for the token of the operators.
    pub(crate) hub: Arc<Hub>,
    /// This process as a replica (`--cluster`).
    pub(crate) cluster: Cluster,
    pub(crate) started: SystemTime,
    /// Cancelled when a client of the API asks for the shutdown.
    pub(crate) drain_requested: CancellationToken,
    /// Cancelled when clients should turn to other servers: `--drain-delay` before the server
    /// begins to shut down.
    pub(crate) not_ready: CancellationToken,
    /// Cancelled when the server begins to shut down.
    pub(crate) shutting_down: CancellationToken,
}

/// Connections that are shut down in the same phases. Clones are the same group.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionGroup {
    /// The stage of the group's shutdown, as its connections see it.
    pub(crate) drain: Drain,
    pub(crate) tracker: TaskTracker,
}

/// The service that answers on a listener.
#[derive(Debug)]
pub(crate) struct ListenerService {
    pub(crate) instance: ServiceInstance,
    pub(crate) target: Arc<ConnectionTarget>,
    pub(crate) kind: Kind,
    /// Whether each connection ends after the answer to its first message.
    pub(crate) once: bool,
    /// The sides of its connections that are recorded.
    pub(crate) record: Option<Sides>,
}

impl ServerContext {
    /// The context of a server without listeners and routes.
    ///
    /// # Errors
    ///
    /// There are not enough threads or file descriptors for the event loops.
    pub(crate) fn new(
        settings: Settings,
        hub: Arc<Hub>,
        spans: Spans,
    ) -> io::Result<ServerContext> {
        let limits = Limits::new(settings.max_connections, settings.max_per_address);
        let loops = EventLoops::start()?;
        let registry = Registry::default();
        let replicas = Replicas::new(registry.clone());
        let cluster = Cluster::new(hub.clone(), &replicas)?;
        let group = || ConnectionGroup { drain: Drain::new(), tracker: TaskTracker::new() };
        Ok(ServerContext {
            settings,
            endpoints: Endpoints::default(),
            targets: Vec::new(),
            limits: Arc::new(limits),
            counters: Arc::default(),
            hops: Hops::random()?,
            hairpins: Hairpins::default(),
            loop_lag: LoopLag::new(loops.clone()),
            loops,
            replicas,
            registry,
            spans,
            recorder: Recorder::default(),
            services: group(),
            bridges: group(),
            http: group(),
            subscribers: Arc::new(Shares::new(MAX_SUBSCRIBERS.0, MAX_SUBSCRIBERS.1)),
            listings: Arc::new(Shares::new(MAX_LISTINGS.0, MAX_LISTINGS.1)),
            taps: Arc::new(Shares::new(MAX_TAPS.0, MAX_TAPS.1)),
            tap_budget: Arc::new(Budget::new(MAX_TAP_BYTES)),
            hub,
            cluster,
            started: SystemTime::now(),
            drain_requested: CancellationToken::new(),
            not_ready: CancellationToken::new(),
            shutting_down: CancellationToken::new(),
        })
    }

    /// The same context under another configuration. The limits stay as they are: the caller sets
    /// them.
    pub(crate) fn with_settings(
        &self,
        settings: Settings,
        endpoints: Endpoints,
        targets: Vec<Arc<TargetMetrics>>,
    ) -> ServerContext {
        ServerContext { settings, endpoints, targets, ..self.clone() }
    }

    /// The address by which an HTTP connection is counted. `None` for a Unix socket, and for an
    /// address that may be that of a proxy, since a proxy has many clients.
    pub(crate) fn counted_by(&self, peer: &Peer) -> Option<IpAddr> {
        let Peer::Address(at) = peer else { return None };
        let Settings { proxy_protocol_from, forwarded_from, .. } = &self.settings;
        let is_proxy = proxy_protocol_from.iter().any(|network| network.contains(at))
            || forwarded_from.iter().any(|proxy| proxy.includes(peer));
        (!is_proxy).then(|| at.ip())
    }

    /// Whether a new connection, of which the sides `record` are recorded, is observed from its
    /// beginning.
    pub(crate) fn observes(&self, record: Option<Sides>) -> bool {
        record.is_some() || self.keeps_history()
    }

    fn keeps_history(&self) -> bool {
        self.settings.api && self.settings.tap
    }

    /// Begins the observation of a connection that has just been registered, before its first byte.
    /// The sides `record` are recorded. `describe` completes its description. A hairpin is not
    /// shown to observers that wait for the next connection, since its client's connection is.
    pub(crate) fn observe(
        &self,
        entry: &Entry,
        record: Option<Sides>,
        is_hairpin: bool,
        describe: impl FnOnce(Opened) -> Opened,
    ) {
        let recorder = record.and_then(|sides| Some((self.recorder.queue()?, sides)));
        let recorder = recorder.as_ref().map(|(queue, sides)| (queue, *sides));
        let is_shown = |has_token| !is_hairpin && (has_token || !entry.leads_to_operators());
        entry.observe(self.keeps_history(), recorder, describe, is_shown);
    }

    /// The upstream of a route under the current configuration.
    pub(crate) fn upstream(&self, target: &str) -> Option<&str> {
        let route = self.endpoints.routes.iter().find(|route| *route.path == *target);
        route.map(|route| &*route.upstream)
    }

    /// Carries a connection of `group` to its end on an event loop.
    pub(crate) fn spawn_on_loop(
        &self,
        group: &ConnectionGroup,
        connection: impl Future + Send + 'static,
    ) {
        self.loops.spawn(group.tracker.track_future(connection).map(drop));
    }
}
