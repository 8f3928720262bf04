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
    admission::Door,
    snapshot::{Current, Generation},
    sockets::{Sockets, bind::Socket, systemd::Inherited},
};
use crate::{
    config::Settings,
    context::Shared,
    service::chat::{Hub, Token},
};

/// The part of the drain's time within which the last clients are accepted.
const ACCEPTING: f64 = 0.3;

/// A server with its sockets bound.
#[derive(Debug)]
pub(crate) struct Server {
    current: Arc<Current>,
    sockets: Sockets,
    hub: Arc<Hub>,
    /// The sockets at work, by their number.
    at_work: HashMap<u64, AtWork>,
    /// What runs there, and clients whose proxies have not said yet who they are.
    tasks: TaskTracker,
}

/// A socket that is served.
#[derive(Debug)]
struct AtWork {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds everything that `settings` name, beside what was `inherited`.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub(crate) async fn bind(settings: Settings, inherited: Inherited) -> Result<Server, String> {
        let token = settings.operator_token.clone().map_or_else(Token::random, Ok)?;
        let hub = Arc::new(Hub::new(token));
        let sockets = Sockets::inherited(inherited)?.renewed(&settings).await?;
        let nobody = Shared::new(settings.clone())
            .map_err(|e| format!("cannot start the event loops: {e}"))?;
        let first = Generation::new(settings, &sockets, &hub, &nobody)
            .map_err(|e| format!("cannot serve: {e}"))?;
        Ok(Server {
            current: Current::new(first).into(),
            sockets,
            hub,
            at_work: HashMap::new(),
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
        let Generation { shared, has_operators, .. } = &*self.current.get();
        (*has_operators && shared.settings.operator_token.is_none())
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
        self.set_to_work();
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
                    () = self.turn_to(next, &announce) => {}
                },
                Err(why) => tracing::warn!("SIGHUP: the settings stay as they were: {why}"),
            }
        }
        let start = Instant::now();
        let Server { current, sockets, tasks, .. } = self;
        let shared = current.get().shared.clone();
        shared.ending.cancel();
        drop(sockets);
        tasks.close();
        // Clients that are not accepted by then are cut off with the process.
        timeout_at(start + shared.settings.drain.mul_f64(ACCEPTING), tasks.wait()).await.ok();
        shared.drain(start).await;
    }

    /// Serves on those sockets that are not served yet.
    fn set_to_work(&mut self) {
        let shared = self.current.get().shared.clone();
        for held in self.sockets.iter() {
            self.at_work.entry(held.id).or_insert_with(|| {
                let stop = shared.ending.child_token();
                let door = Door { socket: held.id, current: self.current.clone() };
                let (until, tasks) = (stop.clone(), self.tasks.clone());
                let task = match held.socket.clone() {
                    Socket::Stream(listener) => {
                        self.tasks.spawn(accept::accept(listener, door, until, tasks))
                    }
                    Socket::Datagram(socket) => {
                        let registry = shared.registry.clone();
                        self.tasks.spawn(datagrams::serve(socket, door, registry, until))
                    }
                };
                AtWork { stop, task }
            });
        }
    }
}
