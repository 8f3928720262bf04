//! Messages to a service manager that waits for them (systemd's `Type=notify`, sd_notify(3)):
//! readiness, reloads, the stop, a status line, and the watchdog.

use std::{
    env,
    future::pending,
    os::unix::net::{SocketAddr, UnixDatagram},
    process,
    time::Duration,
};

use nix::time::ClockId;
use tokio::time::{MissedTickBehavior, interval};

use super::Server;
use crate::{context::ServerContext, text::io_error};

/// The time beyond `--drain` that the process may take to end: connections are cut off, the
/// recording and the log are written.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The service manager of this process. Without one all messages are dropped.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The time within which the service manager expects the next watchdog message.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The service manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`,
    /// `WATCHDOG_PID`). A value that cannot be used is logged.
    pub(crate) fn from_env() -> ServiceManager {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| {
            let opened = address(&name).and_then(|address| {
                let socket = UnixDatagram::unbound().map_err(|e| io_error::describe(&e))?;
                socket.set_nonblocking(true).map_err(|e| io_error::describe(&e))?;
                Ok((socket, address))
            });
            let unused = |why| {
                tracing::warn!("NOTIFY_SOCKET={name}: {why}: the service manager is not notified");
            };
            opened.map_err(unused).ok()
        });
        let is_other = |pid: String| pid.parse() != Ok(process::id());
        let watchdog = variable("WATCHDOG_USEC")
            .filter(|_| !variable("WATCHDOG_PID").is_some_and(is_other))
            .and_then(|text| {
                let limit = text.parse().ok().filter(|microseconds| *microseconds > 0);
                if limit.is_none() {
                    tracing::warn!("WATCHDOG_USEC={text}: expected a number of microseconds");
                }
                limit.map(Duration::from_micros)
            });
        ServiceManager { socket, watchdog }
    }

    /// Reports that the server accepts connections, at the start and at the end of each reload.
    pub(super) fn ready(&self, server: &Server, rejected: Option<&str>) {
        if self.socket.is_none() {
            return;
        }
        let sockets = server.sockets.borrow().iter().count();
        let rejected = rejected.map_or_else(String::new, |why| {
            format!("; reload rejected, configuration unchanged: {}", why.replace('\n', " "))
        });
        self.send(&format!("READY=1\nSTATUS=serving, listening sockets: {sockets}{rejected}"));
    }

    /// Reports that a reload begins.
    pub(crate) fn reloading(&self) {
        // Every supported system has this clock.
        let now = ClockId::CLOCK_MONOTONIC.now().map(Duration::from);
        let microseconds = now.map_or(0, |now| now.as_micros());
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading the configuration"
        ));
    }

    /// Reports that the server ends, and how long that may take, whatever the service manager's own
    /// limit is.
    pub(super) fn stopping(&self, context: &ServerContext) {
        let drain = context.settings.drain;
        let limit = (drain + STOP_MARGIN).as_micros();
        let count = context.registry.count();
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={limit}\nSTATUS=stopping within {drain:?} (--drain), \
             open connections: {count}"
        ));
    }

    /// Sends watchdog messages as long as all event loops of `server` answer. Never ready.
    pub(crate) fn watch<'a>(&'a self, server: &Server) -> impl Future<Output = ()> + use<'a> {
        let loop_lag = server.snapshot().context.loop_lag.clone();
        async move {
            let (Some(watchdog), Some(_)) = (self.watchdog, &self.socket) else {
                return pending().await;
            };
            let mut ticks = interval(watchdog / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match loop_lag.measure().await {
                    Ok(()) => self.send("WATCHDOG=1"),
                    Err(stuck) => tracing::error!("watchdog (WATCHDOG_USEC): {stuck}"),
                }
            }
        }
    }

    /// Sends one message without waiting.
    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(e) = socket.send_to_addr(message.as_bytes(), address) {
            let (what, why) = (message.lines().next().unwrap_or_default(), io_error::describe(&e));
            tracing::warn!("cannot send {what} to the service manager (NOTIFY_SOCKET): {why}");
        }
    }
}

/// The value of an environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The address that `NOTIFY_SOCKET` has: an absolute path, or `@` and the name of an abstract socket.
fn address(name: &str) -> Result<SocketAddr, String> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name).map_err(|e| e.to_string());
    }
    if !name.starts_with('/') {
        return Err("expected an absolute path, or @ and a name".to_owned());
    }
    SocketAddr::from_pathname(name).map_err(|e| e.to_string())
}
