//! The life of the server: listeners, reloads and handovers, shutdown.

use std::{
    future::pending,
    pin::{Pin, pin},
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    RunningSocket, Server, accept,
    admission::Admission,
    datagrams, dispatch,
    handover::successor::{self, Successor},
    service_manager::ServiceManager,
    shutdown::{self, Phases},
    sockets::{Purpose, bind::Socket},
};
use crate::{
    config::Settings, gateway::datagram_sessions, runtime::reception::Reception,
    text::credentials::without_credentials,
};

impl Server {
    /// Serves until the shutdown begins: `stop` is ready, the API is asked for a drain, or a
    /// successor has taken over the sockets. Without a successor, connections are accepted for
    /// `--drain-delay` longer. All connections have ended within `--drain` from the beginning of
    /// the shutdown.
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
        // A handover that fails does not interrupt or discard a reading of the settings.
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
    pub(super) fn start_listeners(&mut self) {
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
                        let at = bound.socket.at().unwrap_or_default();
                        self.tasks.spawn(accept::accept(listener, at, admission, until, tasks))
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

/// The next process that is ready to take over.
async fn next(successors: &mut Option<mpsc::Receiver<Successor>>) -> Option<Successor> {
    successors.as_mut()?.recv().await
}
