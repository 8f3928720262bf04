//! The handover: a process passes its sockets to the next one, which was started with the same
//! `--handover`, so that no client is refused between them.
//!
//! ```text
//! successor                            predecessor
//!   echogate handover 1         ──>
//!                               <──    echogate handover 1
//!                               <──    upper tcp://127.0.0.1:7007   with the descriptor
//!                               <──    …                            for each socket
//!                               <──    end
//!   (binds what else it needs)
//!   ready 0 2                   ──>    (stops accepting)            the sockets that it uses
//!                               <──    stopped
//!   (accepts)                          (ends its connections)
//! ```
//!
//! Until `ready` the predecessor is unchanged, and continues to serve if the successor fails. The
//! two processes never accept at the same time, since a connection of the successor's gateway to
//! its own listener would then reach the predecessor; in between, connections wait in the kernel.
//! The predecessor may send `refused REASON` in place of any of its lines. The socket of this
//! conversation is handed over like the others.

pub(super) mod predecessor;
pub(super) mod successor;

use std::{io, time::Duration};

use tokio::{net::unix::UCred, time::timeout};

use self::successor::Successor;
use super::Server;
use crate::{net::descriptor_stream::DescriptorStream, text::io_error};

/// The first line of both sides, without the version.
const GREETING: &str = "echogate handover ";

/// The version of the conversation and of the descriptions of sockets.
const VERSION: &str = "1";

/// The start of the line by which a predecessor refuses.
const REFUSED: &str = "refused ";

/// The line after the descriptions of the sockets.
const END: &str = "end";

/// The first word of the line that names the sockets which the successor uses.
const READY: &str = "ready";

/// The line after which the predecessor accepts no connection.
const STOPPED: &str = "stopped";

/// The time limit of each step that does not wait for the other process to start or to stop.
const STEP: Duration = Duration::from_secs(5);

/// The time that a successor has to get ready, once it has the sockets.
const START: Duration = Duration::from_secs(30);

/// The time in which the loops of the sockets end.
const STOP: Duration = Duration::from_secs(5);

impl Server {
    /// Tells the predecessor to stop, if there is one, and waits until the predecessor accepts no
    /// connection. From then on this process must serve.
    ///
    /// # Errors
    ///
    /// One line: the predecessor continues to serve, or has ended.
    pub(crate) async fn take_over(&mut self) -> Result<(), String> {
        let Some(mut predecessor) = self.predecessor.take() else { return Ok(()) };
        let sockets = self.sockets.borrow().clone();
        predecessor.stop(&sockets).await?;
        let used = || predecessor.sockets.iter().filter(|passed| sockets.has(passed.id));
        used().filter_map(|bound| bound.socket.file()).for_each(|file| file.set_owned(true));
        sockets.apply_options(&predecessor.sockets, Some(self.snapshot().context.settings.backlog));
        let (process, count) = (predecessor.process, used().count());
        tracing::info!("took over {count} sockets from process {process} (--handover)");
        Ok(())
    }

    /// Leaves the sockets to `successor`. False if that fails and this process continues to serve.
    pub(super) async fn hand_over(&mut self, mut successor: Successor) -> bool {
        let sockets = self.sockets.borrow().clone();
        let running: Vec<_> = self.running.drain().collect();
        for (id, running) in &running {
            match successor.uses(*id) {
                true => running.reception.leave(),
                false => running.reception.close(),
            }
        }
        let ended = async {
            for (_, running) in &running {
                running.reception.ended().await;
            }
        };
        if timeout(STOP, ended).await.is_err() {
            tracing::warn!("sockets still accept connections {STOP:?} after the handover began");
        }
        let used = sockets.iter().filter(|bound| successor.uses(bound.id));
        let files: Vec<_> = used.filter_map(|bound| bound.socket.file()).collect();
        files.iter().for_each(|file| file.set_owned(false));
        let process = successor.process;
        match within(STEP, successor.stream.send(STOPPED)).await {
            Ok(()) => {
                tracing::info!("handed over to process {process} (--handover), shutting down");
                true
            }
            Err(why) => {
                tracing::warn!(
                    "handover to process {process} failed, this server continues to serve: {why}"
                );
                files.iter().for_each(|file| file.set_owned(true));
                self.start_listeners();
                false
            }
        }
    }
}

/// The result of `step`, if it ends within `limit`.
async fn within<T>(
    limit: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match timeout(limit, step).await {
        Ok(result) => result.map_err(|e| io_error::describe(&e)),
        Err(_) => Err(format!("the other process did not answer within {limit:?}")),
    }
}

/// The next line of the other process.
///
/// # Errors
///
/// No line arrives within `limit`.
async fn line(stream: &mut DescriptorStream, limit: Duration) -> Result<String, String> {
    let line = within(limit, stream.receive()).await?;
    line.ok_or_else(|| "the other process has ended the connection".to_owned())
}

/// Checks the first line of the other process.
///
/// # Errors
///
/// One line: the other process is not echogate, or speaks another version.
fn check_greeting(line: &str) -> Result<(), String> {
    match line.strip_prefix(GREETING) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(format!(
            "the other process speaks version {other:?} of the handover, and this one version \
             \"{VERSION}\": stop one before the other is started"
        )),
        None => Err("the other process is not echogate".to_owned()),
    }
}

/// Checks that the other process may take part: it runs as the same user, or as root.
///
/// # Errors
///
/// One line that names the other process and its user.
fn check_user(other: &UCred) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    match other.uid() {
        user if user == own || user == 0 => Ok(()),
        user => Err(format!(
            "process {} belongs to user {user}, and this one to {own}",
            process_of(other)
        )),
    }
}

/// The identifier of the other process; 0 if it is in another namespace.
fn process_of(other: &UCred) -> i32 {
    other.pid().unwrap_or_default()
}
