//! What all connections share, and how they end.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use echogate_proto::live::{Endpoints, Kind};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Settings,
    connection,
    counters::{Counters, Refusal},
    drain::{Drain, Stage},
    event_loop::EventLoops,
    hairpin::Hairpins,
    limits::{Limits, Place, share::Shares},
    registry::{Arrival, Peer, Registry},
    service::Backend,
    stream::Stream,
    tls::Inside,
};

/// How long it takes at the most to notice what has arrived.
const NOTICE: Duration = Duration::from_millis(20);

/// How long connections may take that are cut off: they need one turn on their event loop.
const CUT: Duration = Duration::from_millis(200);

/// Clients that may watch `/api/events` at once, and those of one address.
const WATCHERS: (usize, usize) = (64, 16);

/// Answers to `/api/connections` under way at once, and those to one address.
const LISTINGS: (usize, usize) = (64, 16);

/// What all connections share: the settings that they began under, and beside them what
/// is the same under all settings.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Every setting, decided.
    pub settings: Settings,
    /// What is served where.
    pub endpoints: Endpoints,
    /// How many connections there may be.
    pub limits: Arc<Limits>,
    /// What was refused or lost.
    pub counters: Arc<Counters>,
    /// Which of them come from here.
    pub hairpins: Hairpins,
    /// Where they are carried.
    pub loops: EventLoops,
    /// Who is connected.
    pub registry: Registry,
    /// Connections to the built-in services.
    pub services: Group,
    /// WebSocket connections.
    pub bridges: Group,
    /// HTTP connections, before they become WebSockets.
    pub http: Group,
    /// Clients of `/api/events`.
    pub watchers: Arc<Shares>,
    /// Answers to `/api/connections` under way.
    pub listings: Arc<Shares>,
    /// The server has begun to end.
    pub ending: CancellationToken,
}

/// Connections that end together. Clones are the same.
#[derive(Clone, Debug)]
pub struct Group {
    /// Tells them to.
    pub drain: Drain,
    /// Waits for them.
    pub tracker: TaskTracker,
}

/// How a listener's clients are received.
#[derive(Debug)]
pub(crate) struct Reception {
    /// The service.
    pub(crate) backend: Backend,
    /// Its name.
    pub(crate) target: Arc<str>,
    /// The transport.
    pub(crate) kind: Kind,
    /// One message is answered.
    pub(crate) once: bool,
}

impl Shared {
    /// Nobody is connected yet, and nothing is served.
    ///
    /// # Errors
    ///
    /// The system's, about the event loops.
    pub(crate) fn new(settings: Settings) -> io::Result<Shared> {
        let limits = Limits::new(settings.max_connections, settings.max_per_address);
        Ok(Shared {
            settings,
            endpoints: Endpoints::default(),
            limits: Arc::new(limits),
            counters: Arc::default(),
            hairpins: Hairpins::default(),
            loops: EventLoops::start()?,
            registry: Registry::default(),
            services: Group::new(),
            bridges: Group::new(),
            http: Group::new(),
            watchers: Arc::new(Shares::new(WATCHERS.0, WATCHERS.1)),
            listings: Arc::new(Shares::new(LISTINGS.0, LISTINGS.1)),
            ending: CancellationToken::new(),
        })
    }

    /// The same under other settings. (The limits stay as they are until they are set.)
    pub(crate) fn under(&self, settings: Settings, endpoints: Endpoints) -> Shared {
        Shared { settings, endpoints, ..self.clone() }
    }

    /// The address that an HTTP connection is counted by; none where it may be that of a
    /// proxy, which has many clients.
    pub(crate) fn counted_by(&self, peer: &Peer) -> Option<IpAddr> {
        let Peer::Address(peer) = peer else { return None };
        let Settings { proxy_protocol_from, forwarded_from, .. } = &self.settings;
        let mut proxies = proxy_protocol_from.iter().chain(forwarded_from);
        (!proxies.any(|network| network.has(peer))).then(|| peer.ip())
    }

    /// Spawns a task that serves an accepted connection to a service, unless its client's address has
    /// as many as it may. `place` is none for a bridge's connection to a listener of this server,
    /// which its client's own place covers.
    pub(crate) fn receive(
        self: &Arc<Self>,
        how: &Arc<Reception>,
        stream: Stream,
        peer: Peer,
        place: Option<Place>,
    ) {
        let place = match place.map(|place| place.of(peer.ip())).transpose() {
            Ok(place) => place,
            Err(full) => {
                self.counters.refused(full.refusal());
                return tracing::info!(%peer, "refused: {full}");
            }
        };
        if how.kind != Kind::Tls {
            return self.serve(how, stream, peer, place);
        }
        let (shared, how) = (self.clone(), how.clone());
        self.services.tracker.spawn(async move {
            let within = shared.settings.header_timeout;
            if let Some(stream) = shared.secured(Inside::Bytes, stream, &peer, within).await {
                shared.serve(&how, stream, peer, place);
            }
        });
    }

    fn serve(&self, how: &Reception, stream: Stream, peer: Peer, place: Option<Place>) {
        let exchange = how.backend.meet(peer.clone(), how.once);
        let arrival = Arrival { kind: how.kind, peer, target: how.target.clone(), bridged: None };
        // The idle time of a bridge's connection to a listener here is the bridge's: that
        // ends it with the right Close.
        let idle = place.as_ref().and(self.settings.idle_timeout);
        let entry = self.registry.enter(arrival, place);
        let drain = &self.services.drain;
        self.carry(&self.services, connection::serve(stream, exchange, entry, idle, drain));
    }

    /// Carries a connection of `group` to its end, on an event loop.
    pub(crate) fn carry(&self, group: &Group, connection: impl Future + Send + 'static) {
        self.loops.spawn(group.tracker.track_future(connection).map(drop));
    }

    /// The stream within TLS, where there is a certificate, if the client agrees on it
    /// `within` so much time.
    pub(crate) async fn secured(
        &self,
        inside: Inside,
        stream: Stream,
        peer: &Peer,
        within: Duration,
    ) -> Option<Stream> {
        let (Some(identity), Stream::Plain(socket)) = (&self.settings.tls, stream) else {
            return None;
        };
        let drain = match inside {
            Inside::Http | Inside::WebSocket => &self.http.drain,
            Inside::Bytes => &self.services.drain,
        };
        let tls = identity.accept(inside, socket, peer, within, drain).await;
        if tls.is_none() {
            self.counters.refused(Refusal::Tls);
        }
        tls.map(Stream::from)
    }

    /// Ends all connections: first those that come through the gateway, because the
    /// built-in services answer what they have in flight; then the services' own.
    /// Each group has a part of the time to end when it is quiet, and then some to end
    /// at the next clean place. The time counts from `start`.
    pub(crate) async fn drain(&self, start: Instant) {
        let within = self.settings.drain;
        // Who has just been accepted is not known to have sent nothing before the
        // runtime has asked the system.
        sleep(NOTICE.min(within / 10)).await;
        self.http.drain.advance(Stage::WhenQuiet);
        self.bridges.end_by(start + within.mul_f64(0.4), start + within.mul_f64(0.5)).await;
        self.services.end_by(start + within.mul_f64(0.8), start + within.mul_f64(0.9)).await;
        self.bridges.end_by(start + within, start + within).await;
        self.http.end_by(start + within, start + within).await;
        let count = self.registry.count();
        if count > 0 {
            tracing::warn!("{count} connections did not end within {within:?} and are cut off");
            let until = Instant::now() + CUT;
            self.bridges.end(Stage::Cut, until).await;
            self.services.end(Stage::Cut, until).await;
        }
        for entry in self.registry.entries() {
            entry.ended(&"cut off by the server's end");
        }
    }
}

impl Group {
    fn new() -> Group {
        Group { drain: Drain::new(), tracker: TaskTracker::new() }
    }

    /// Ends the group's connections: by `quiet` those that become quiet, by `now` the
    /// others, as far as they can be ended cleanly.
    async fn end_by(&self, quiet: Instant, now: Instant) {
        self.tracker.close();
        if !self.end(Stage::WhenQuiet, quiet).await {
            self.end(Stage::Now, now).await;
        }
    }

    /// Has the group's connections end as `stage` says; whether all do until then.
    async fn end(&self, stage: Stage, until: Instant) -> bool {
        self.drain.advance(stage);
        timeout_at(until, self.tracker.wait()).await.is_ok()
    }
}
