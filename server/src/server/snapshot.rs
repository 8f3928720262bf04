//! A configuration snapshot: one configuration and everything derived from it. A reload replaces
//! the snapshot in force; connections keep the one that they were accepted under.
//!
//! - `description`: sockets and routes for the API and the log; `own_address`: the addresses at which
//!   this process reaches its own listeners; `operators`: the targets that lead to operators;
//!   `targets`: the recipients of connections

mod description;
mod operators;
mod own_address;
mod targets;

use std::{collections::HashMap, io, sync::Arc};

use tokio::sync::watch;

use self::{
    description::{endpoints, lines, reach_hint},
    operators::Operators,
    targets::Targets,
};
use super::sockets::BoundSockets;
use crate::{
    config::Settings,
    connections::{
        limits::descriptors,
        target::{TargetLabel, TargetMetrics},
    },
    context::{ListenerService, ServerContext},
    gateway::{Forward, UpstreamTarget, upstream::UpstreamEndpoint},
    http::Site,
    net::own_sockets::OwnSockets,
    service::chat::Hub,
};

/// The snapshot in force. A connection takes it when it is accepted, and keeps it.
pub(super) type CurrentSnapshot = watch::Sender<Arc<Snapshot>>;

/// The recipient of the connections of a socket.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// HTTP, with the WebSocket routes.
    Http { is_https: bool },
    /// A built-in service.
    Service(Arc<ListenerService>),
    /// The upstream of a forward.
    Forward(Arc<Forward>),
}

/// One configuration and everything derived from it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) context: Arc<ServerContext>,
    /// The responses to HTTP requests.
    pub(crate) site: Arc<Site>,
    /// The recipients of the connections, by the identifiers of their sockets.
    served: HashMap<u64, Served>,
    /// The datagram sockets of this server. A datagram from one of them is not answered, since the
    /// answer could begin a loop.
    pub(crate) own_datagram_sockets: OwnSockets,
    /// One line for each socket and route.
    pub(crate) lines: Vec<String>,
    /// Whether a listener, a route or a forward leads to the service `operator`.
    pub(crate) has_operators: bool,
    /// The number of file descriptors that all connections need at most.
    pub(super) descriptors: usize,
}

impl Snapshot {
    /// Builds a snapshot. Limits, registry and event loops, which outlive a configuration, are
    /// taken over from `before`.
    ///
    /// # Errors
    ///
    /// The local address of a socket, or the proxy of an upstream, cannot be determined.
    pub(crate) fn new(
        settings: Settings,
        sockets: &BoundSockets,
        hub: &Arc<Hub>,
        before: &ServerContext,
    ) -> io::Result<Snapshot> {
        let metrics = TargetMetrics::of_labels(labels(&settings), &before.targets);
        let operators = Operators::of(&settings, sockets);
        let targets = Targets {
            settings: &settings,
            sockets,
            hub,
            before,
            metrics: metrics.iter().map(|metrics| (&metrics.label, metrics)).collect(),
            operators: &operators,
        };
        let served = sockets
            .iter()
            .filter_map(|bound| {
                Some(targets.served(bound).transpose()?.map(|served| (bound.id, served)))
            })
            .collect::<io::Result<HashMap<_, _>>>()?;
        let routes = settings.routes.iter().map(|route| targets.route(route));
        let routes: Vec<_> = routes.collect::<io::Result<_>>()?;
        let is_hairpin =
            |target: &UpstreamTarget| matches!(target.upstream.to, UpstreamEndpoint::Listener(..));
        let has_hairpins = routes.iter().any(|route| is_hairpin(&route.target))
            || served
                .values()
                .any(|it| matches!(it, Served::Forward(it) if is_hairpin(&it.target)));
        let descriptors = descriptors::needed(settings.max_connections, has_hairpins);
        let endpoints = endpoints(sockets, &routes, &settings.forwards)?;
        let own_datagram_sockets =
            sockets.iter().filter_map(|bound| bound.socket.datagrams()).collect();
        let mut lines = lines(sockets, &endpoints, &settings.base_path)?;
        lines.extend(settings.summary_lines());
        lines.extend(reach_hint(sockets, &settings).map(str::to_owned));
        let context = Arc::new(before.with_settings(settings, endpoints, metrics));
        let site = Arc::new(Site::new(&context, &routes));
        Ok(Snapshot {
            context,
            site,
            served,
            own_datagram_sockets,
            lines,
            has_operators: operators.exist(),
            descriptors,
        })
    }

    /// Keeps the recipient of the connections of a socket that this configuration closes, for
    /// connections that the kernel has accepted on it.
    pub(crate) fn keep_served(&mut self, socket: u64, before: &Snapshot) {
        let Some(mut served) = before.served(socket).cloned() else { return };
        if let Served::Http { is_https } = &mut served {
            *is_https &= self.context.settings.tls.is_some();
        }
        self.served.insert(socket, served);
    }

    /// The recipient of the connections of a socket.
    pub(crate) fn served(&self, socket: u64) -> Option<&Served> {
        self.served.get(&socket)
    }
}

/// The labels of all routes and forwards.
fn labels(settings: &Settings) -> impl Iterator<Item = TargetLabel> {
    let routes = settings.routes.iter().map(|route| TargetLabel::Route(route.path.clone()));
    let forwards = settings.forwards.iter();
    routes.chain(forwards.map(|forward| TargetLabel::Forward(forward.at.to_string())))
}
