//! The server: sockets are bound, announced, served, and shut down.
//!
//! ```text
//! accept -> admission -> (PROXY header) -> dispatch -> http, or a service or a forward on an event loop
//! ```
//!
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
mod service_manager;
mod shutdown;
mod snapshot;
pub(crate) mod sockets;

use std::{
    collections::HashMap,
    future::pending,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use self::{
    admission::Admission,
    handover::{
        predecessor::Predecessor,
        successor::{self, Successor},
    },
    shutdown::Phases,
    snapshot::{CurrentSnapshot, Snapshot},
    sockets::{BoundSockets, Purpose, bind::Socket},
};
pub(crate) use self::{service_manager::ServiceManager, sockets::systemd::ActivatedSockets};
#[cfg(feature = "otlp")]
use crate::net::otlp_client::OtlpClient;
use crate::{
    config::Settings,
    context::ServerContext,
    gateway::datagram_sessions,
    runtime::reception::{Reception, ReceptionEnd},
    service::chat::{Hub, Token},
    text::credentials::without_credentials,
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

/// A socket that is served.
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
            .map_err(|e| format!("cannot start the event loops: {e}"))?;
        context
            .recorder
            .apply(context.settings.record.as_ref())
            .map_err(|e| format!("cannot start the recorder: {e}"))?;
        let first = Snapshot::new(settings, &sockets, &hub, &context)
            .map_err(|e| format!("cannot serve: {e}"))?;
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

    /// A line with the operators' token, if it was generated here: nobody else knows it.
    fn token_line(&self) -> Option<String> {
        let Snapshot { context, has_operators, .. } = &*self.snapshot();
        (*has_operators && context.settings.operator_token.is_none())
            .then(|| format!("operator   token {}", self.hub.token().reveal()))
    }

    /// The configuration in force.
    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.borrow().clone()
    }

    /// Connects to the broker of `context`, and tells other replicas the URL of the API.
    fn join_cluster(&self, context: &ServerContext) {
        context.replicas.set_api(context.settings.api, self.sockets.borrow().http_url());
        context.cluster.apply(context.settings.cluster.as_ref());
    }

    /// Serves until the shutdown begins: `stop` is ready, the API is asked for a drain, or a successor
    /// has taken over the sockets. Without a successor, connections are accepted for `--drain-delay` more.
    /// All connections have ended within `--drain` from the beginning of the shutdown.
    ///
    /// `reload` is ready whenever a reload is requested, with the new settings or their error.
    /// `announce` receives lines that are not for the log, and must not block. `service_manager` is
    /// notified of start, reloads and shutdown.
    pub(crate) async fn run(
        mut self,
        service_manager: &ServiceManager,
        reload: impl AsyncFnMut() -> Result<Settings, String>,
        stop: impl Future<Output = ()>,
        announce: impl Fn(&[u8]),
    ) {
        let requested = self.snapshot().context.drain_requested.clone();
        let mut stop = pin!(async {
            tokio::select! {
                () = stop => {}
                () = requested.cancelled() => {}
            }
        });
        self.start_listeners();
        self.join_cluster(&self.snapshot().context);
        let is_handed_over = self.serve(service_manager, reload, stop.as_mut(), announce).await;
        self.shut_down(service_manager, is_handed_over, stop).await;
    }

    /// Serves, reloads and hands over, until the shutdown begins. Returns whether a successor has the
    /// sockets.
    async fn serve(
        &mut self,
        service_manager: &ServiceManager,
        reload: impl AsyncFnMut() -> Result<Settings, String>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        announce: impl Fn(&[u8]),
    ) -> bool {
        // Settings that are being read, or have been read, outlive a handover that fails.
        let mut readings =
            pin!(stream::unfold(reload, async |mut reload| { Some((reload().await, reload)) }));
        let mut settings = None;
        let mut rejected = None;
        let mut successors = self.successors.1.take();
        loop {
            service_manager.ready(self, rejected.as_deref());
            let prepared = async {
                if settings.is_none() {
                    settings = readings.next().await;
                }
                match &settings {
                    Some(Ok(settings)) => self.prepare(settings.clone()).await,
                    Some(Err(why)) => Err(why.clone()),
                    None => pending().await,
                }
            };
            let prepared = tokio::select! {
                biased;
                () = &mut stop => return false,
                Some(successor) = next(&mut successors) => match self.hand_over(successor).await {
                    true => return true,
                    false => continue,
                },
                prepared = prepared => prepared,
            };
            settings = None;
            rejected = match prepared {
                Ok(prepared) => tokio::select! {
                    biased;
                    () = &mut stop => return false,
                    () = self.commit(prepared, &announce) => None,
                },
                Err(why) => {
                    let why = without_credentials(&why);
                    tracing::warn!("SIGHUP: reload rejected, configuration unchanged: {why}");
                    Some(why)
                }
            };
        }
    }

    /// Ends all connections within `--drain`, with final accepts unless a successor has the sockets.
    async fn shut_down(
        self,
        service_manager: &ServiceManager,
        is_handed_over: bool,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) {
        let start = Instant::now();
        let context = self.snapshot().context.clone();
        let Settings { drain, drain_delay, .. } = context.settings;
        let phases = if is_handed_over {
            let phases = Phases::of_a_handover(drain, start);
            tokio::select! {
                () = shutdown::wait_for_short_connections(&context, &self.tasks, &phases) => {}
                () = stop => {}
            }
            phases
        } else {
            service_manager.stopping(&context);
            context.not_ready.cancel();
            sleep(drain_delay).await;
            Phases::of_a_signal(drain, drain_delay, start)
        };
        context.shutting_down.cancel();
        drop(self.sockets);
        shutdown::end_connections(&context, &self.tasks, &phases).await;
        let limit = shutdown::recording_limit(drain, start);
        tokio::join!(
            context.cluster.leave(),
            context.recorder.end(limit),
            context.spans.export_rest(limit),
        );
    }

    /// Serves the bound sockets that are not served yet.
    fn start_listeners(&mut self) {
        let context = self.snapshot().context.clone();
        for bound in self.sockets.borrow().iter() {
            self.running.entry(bound.id).or_insert_with(|| {
                let (until, reception) = Reception::until(context.shutting_down.child_token());
                let admission = Admission { socket: bound.id, current: self.current.clone() };
                let tasks = self.tasks.clone();
                let task = match bound.socket.clone() {
                    Socket::Stream(listener) if bound.role.purpose == Purpose::Handover => {
                        let (sockets, ready) =
                            (self.sockets.subscribe(), self.successors.0.clone());
                        self.tasks.spawn(successor::serve(listener, sockets, ready, until))
                    }
                    Socket::Stream(listener) => {
                        self.tasks.spawn(accept::accept(listener, admission, until, tasks))
                    }
                    Socket::Datagram(socket) if bound.role.is_forward() => {
                        let counters = context.counters.clone();
                        let open = move |sender, session| {
                            dispatch::open_session(&admission, &sender, session)
                        };
                        self.tasks.spawn(datagram_sessions::serve(socket, open, counters, until))
                    }
                    Socket::Datagram(socket) => {
                        let registry = context.registry.clone();
                        self.tasks.spawn(datagrams::serve(socket, admission, registry, until))
                    }
                };
                RunningSocket { reception, task }
            });
        }
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

/// The next process that is ready to take over.
async fn next(successors: &mut Option<mpsc::Receiver<Successor>>) -> Option<Successor> {
    successors.as_mut()?.recv().await
}
