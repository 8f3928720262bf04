//! The server: bound, announced, run, drained.
//!
//! - `reload`: from some settings to others while it runs

mod accept;
mod admission;
mod datagrams;
mod reload;
pub(crate) mod snapshot;
pub(crate) mod sockets;

use std::{collections::HashMap, pin::pin, sync::Arc};

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    admission::Admission,
    snapshot::{Current, Snapshot},
    sockets::{BoundSockets, bind::Socket, systemd::ActivatedSockets},
};
use crate::{
    config::Settings,
    context::ServerContext,
    service::chat::{Hub, Token},
};

/// The part of the drain's time within which the last clients are accepted.
const ACCEPTING: f64 = 0.3;

/// A server with its sockets bound.
#[derive(Debug)]
pub(crate) struct Server {
    current: Arc<Current>,
    sockets: BoundSockets,
    hub: Arc<Hub>,
    /// The sockets at work, by their number.
    running: HashMap<u64, Running>,
    /// What runs there, and clients whose proxies have not said yet who they are.
    tasks: TaskTracker,
}

/// A socket that is served.
#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds everything that `settings` name, beside what was `inherited`.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub(crate) async fn bind(
        settings: Settings,
        inherited: ActivatedSockets,
    ) -> Result<Server, String> {
        let token = settings.operator_token.clone().map_or_else(Token::random, Ok)?;
        let hub = Arc::new(Hub::new(token));
        let sockets = BoundSockets::inherited(inherited)?.reconcile(&settings).await?;
        let nobody = ServerContext::new(settings.clone())
            .map_err(|e| format!("cannot start the event loops: {e}"))?;
        let first = Snapshot::new(settings, &sockets, &hub, &nobody)
            .map_err(|e| format!("cannot serve: {e}"))?;
        Ok(Server {
            current: Current::new(first).into(),
            sockets,
            hub,
            running: HashMap::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Where the clients of `chat` and its operators meet.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What listens where, a line each, and `ready` at the end.
    pub(crate) fn announcement(&self) -> String {
        let token = self.token_line();
        let lines = &self.current.get().lines;
        lines.iter().chain(&token).map(|line| format!("{line}\n")).collect::<String>() + "ready\n"
    }

    /// Says the operators' token, if nobody but this server can: it was made here.
    fn token_line(&self) -> Option<String> {
        let Snapshot { context, has_operators, .. } = &*self.current.get();
        (*has_operators && context.settings.operator_token.is_none())
            .then(|| format!("operator   token {}", self.hub.token().reveal()))
    }

    /// Serves until `stop` is ready, and then ends every connection within the time
    /// that the settings give, which counts from there. `reload` is ready whenever the
    /// settings are to be others, and says which, or what is wrong with them. `announce` is
    /// given a line that is not for the log; it must not block.
    pub(crate) async fn run(
        mut self,
        mut reload: impl AsyncFnMut() -> Result<Settings, String>,
        stop: impl Future<Output = ()>,
        announce: impl Fn(&[u8]),
    ) {
        let mut stop = pin!(stop);
        self.start_listeners();
        loop {
            let next = async {
                let settings = reload().await?;
                self.next(settings).await
            };
            let next = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            match next {
                Ok(next) => tokio::select! {
                    biased;
                    () = &mut stop => break,
                    () = self.commit(next, &announce) => {}
                },
                Err(why) => tracing::warn!("SIGHUP: the settings stay as they were: {why}"),
            }
        }
        let start = Instant::now();
        let Server { current, sockets, tasks, .. } = self;
        let context = current.get().context.clone();
        context.ending.cancel();
        drop(sockets);
        tasks.close();
        // Clients that are not accepted by then are cut off with the process.
        timeout_at(start + context.settings.drain.mul_f64(ACCEPTING), tasks.wait()).await.ok();
        context.drain(start).await;
    }

    /// Serves on those sockets that are not served yet.
    fn start_listeners(&mut self) {
        let context = self.current.get().context.clone();
        for bound in self.sockets.iter() {
            self.running.entry(bound.id).or_insert_with(|| {
                let stop = context.ending.child_token();
                let admission = Admission { socket: bound.id, current: self.current.clone() };
                let (until, tasks) = (stop.clone(), self.tasks.clone());
                let task = match bound.socket.clone() {
                    Socket::Stream(listener) => {
                        self.tasks.spawn(accept::accept(listener, admission, until, tasks))
                    }
                    Socket::Datagram(socket) => {
                        let registry = context.registry.clone();
                        self.tasks.spawn(datagrams::serve(socket, admission, registry, until))
                    }
                };
                Running { stop, task }
            });
        }
    }
}
