//! The server: sockets are bound, announced, served, and shut down.
//!
//! ```text
//! accept -> admission -> (PROXY header) -> dispatch -> http, or a service or a forward on an event loop
//! ```
//!
//! - [`run`]: the life of the server, from its listeners to its shutdown
//! - [`accept`]: the accept loop of a listener; [`datagrams`]: the receive loop of a datagram
//!   socket of a service
//! - [`admission`]: a permit, and the configuration that a connection keeps
//! - [`dispatch`]: TLS, then HTTP or a service
//! - [`snapshot`]: one configuration and what is derived from it; [`reload`]: from one to the
//!   next
//! - [`sockets`]: the sockets that the settings name; [`handover`]: the sockets of one process pass to
//!   the next
//! - [`service_manager`]: messages to systemd
//! - [`shutdown`]: the end of all connections, in phases

mod accept;
mod admission;
mod datagrams;
mod dispatch;
mod handover;
mod reload;
mod run;
mod service_manager;
mod shutdown;
mod snapshot;
pub(crate) mod sockets;

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use self::{
    handover::{predecessor::Predecessor, successor::Successor},
    snapshot::{CurrentSnapshot, Snapshot},
    sockets::BoundSockets,
};
pub(crate) use self::{service_manager::ServiceManager, sockets::systemd::ActivatedSockets};
#[cfg(feature = "otlp")]
use crate::net::otlp_client::OtlpClient;
use crate::{
    config::Settings,
    connections::limits::descriptors,
    context::ServerContext,
    runtime::reception::ReceptionEnd,
    service::chat::{Hub, Token},
    text::io_error::describe,
    trace::Spans,
};

/// A server with its sockets bound.
#[derive(Debug)]
pub(crate) struct Server {
    current: Arc<CurrentSnapshot>,
    sockets: watch::Sender<BoundSockets>,
    /// The process whose sockets are taken over, until it has stopped.
    predecessor: Option<Predecessor>,
    /// Passes the process that is ready to take over from the task of the handover to `run`.
    successors: (mpsc::Sender<Successor>, Option<mpsc::Receiver<Successor>>),
    hub: Arc<Hub>,
    /// The sockets that are served, by their identifiers.
    running: HashMap<u64, RunningSocket>,
    /// The loops of those sockets, and connections that are not dispatched yet.
    tasks: TaskTracker,
}

#[derive(Debug)]
struct RunningSocket {
    reception: ReceptionEnd,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the sockets that `settings` name, beside those that a service manager and the process
    /// before passed.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub(crate) async fn bind(
        settings: Settings,
        activated: ActivatedSockets,
    ) -> Result<Server, String> {
        let token = settings.operator_token.clone().map_or_else(Token::random, Ok)?;
        let hub = Arc::new(Hub::new(token));
        let predecessor = match &settings.handover {
            Some(path) => Predecessor::connect(path).await?,
            None => None,
        };
        let mut passed = BoundSockets::activated(activated)?;
        if let Some(predecessor) = &predecessor {
            passed = passed.with(&predecessor.sockets);
        }
        let sockets = passed.reconcile(&settings).await?;
        drop(passed);
        let context = ServerContext::new(settings.clone(), hub.clone(), spans()?)
            .map_err(|e| format!("cannot start the event loops: {}", describe(&e)))?;
        context
            .recorder
            .apply(context.settings.record.as_ref())
            .map_err(|e| format!("cannot start the recorder: {e}"))?;
        let first = Snapshot::new(settings, &sockets, &hub, &context)
            .map_err(|e| format!("cannot serve: {e}"))?;
        descriptors::check(first.context.settings.max_connections, first.descriptors);
        let (ready, successors) = mpsc::channel(1);
        Ok(Server {
            current: Arc::new(watch::Sender::new(first.into())),
            sockets: watch::Sender::new(sockets),
            predecessor,
            successors: (ready, Some(successors)),
            hub,
            running: HashMap::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// The conversations of `chat`.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// One line for each socket and route, and `ready` as the last one.
    pub(crate) fn announcement(&self) -> String {
        let token = self.token_line();
        let lines = &self.snapshot().lines;
        lines.iter().chain(&token).map(|line| format!("{line}\n")).collect::<String>() + "ready\n"
    }

    /// A line with the operators' token, if it was generated here: then it is written nowhere else.
    fn token_line(&self) -> Option<String> {
        let Snapshot { context, has_operators, .. } = &*self.snapshot();
        (*has_operators && context.settings.operator_token.is_none())
            .then(|| format!("operator   token {}", self.hub.token().reveal()))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.borrow().clone()
    }

    /// Connects to the broker of `context`, and tells other replicas the URL of the API.
    fn join_cluster(&self, context: &ServerContext) {
        context.replicas.set_api(context.settings.api, self.sockets.borrow().http_url());
        context.cluster.apply(context.settings.cluster.as_ref());
    }
}

/// The spans of this process, exported to the receiver that the environment names.
///
/// # Errors
///
/// One line that says which variable cannot be used.
#[cfg(feature = "otlp")]
fn spans() -> Result<Spans, String> {
    let ca = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
    let ca = ca.into_iter().find_map(std::env::var_os).map(Into::into);
    Spans::from_env(OtlpClient::new(tokio::runtime::Handle::current(), ca))
}

#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it fails")]
fn spans() -> Result<Spans, String> {
    Ok(Spans)
}
