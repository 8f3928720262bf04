//! The last connections of a listener that is closed: those in its backlog, which would be reset.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{accepted::wait_for_permit, shortage};
use crate::{
    context::ConnectionGroup,
    net::listener::{Listener, belongs_to_connection},
    runtime::drain::Stage,
    server::admission::Admission,
};

/// The maximum number of connections that are accepted from the backlog when the listener is
/// closed.
const FINAL_ACCEPTS: usize = 4096;

/// The time limit of these accepts, which further connections could prolong. At the shutdown, time
/// in which descriptors or memory are short does not count.
const FINAL_ACCEPTS_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of final accepts after which the task yields to others.
const FINAL_ACCEPTS_BATCH: usize = 64;

/// Accepts the connections in the backlog of a listener that is closed; while descriptors or memory
/// are short, as other connections end. `tasks` tracks connections that wait for a permit or for a
/// PROXY header.
pub(super) async fn accept(
    listener: Arc<Listener>,
    at: String,
    admission: Admission,
    tasks: TaskTracker,
) {
    let Err(error) = accept_now(&listener, &admission, &tasks).await else { return };
    let services = admission.snapshot().context.services.clone();
    let tasks = services.tracker.clone();
    let is_shutdown = admission.shutting_down().is_cancelled();
    let rest = accept_rest(listener, at, admission, services, error, is_shutdown);
    // The shutdown frees descriptors once all listeners have accepted what they can.
    if is_shutdown {
        tasks.spawn(rest);
    } else {
        rest.await;
    }
}

/// Accepts the connections in the backlog, without waiting for further ones.
///
/// # Errors
///
/// The shortage of descriptors or memory that leaves connections in the backlog.
async fn accept_now(
    listener: &Listener,
    admission: &Admission,
    tasks: &TaskTracker,
) -> io::Result<()> {
    let start = Instant::now();
    for accepted in 1..=FINAL_ACCEPTS {
        match listener.accept_now() {
            Ok(Some((stream, peer))) => {
                let admitted = admission.admit(&stream, &peer);
                let shutting_down = admission.shutting_down();
                tasks.spawn(wait_for_permit(stream, peer, admitted, shutting_down, tasks.clone()));
            }
            Err(e) if belongs_to_connection(&e) => {}
            Ok(None) => break,
            Err(e) => return Err(e),
        }
        if start.elapsed() > FINAL_ACCEPTS_TIMEOUT {
            break;
        }
        if accepted % FINAL_ACCEPTS_BATCH == 0 {
            yield_now().await;
        }
    }
    Ok(())
}

/// Accepts the connections that a shortage has left in the backlog, as other connections end: at
/// the shutdown while connections to services end gracefully, and otherwise for
/// [`FINAL_ACCEPTS_TIMEOUT`].
async fn accept_rest(
    listener: Arc<Listener>,
    at: String,
    admission: Admission,
    services: ConnectionGroup,
    mut shortage: io::Error,
    is_shutdown: bool,
) {
    let start = Instant::now();
    let may_accept = || match is_shutdown {
        true => services.drain.watch().stage() < Stage::Immediate,
        false => start.elapsed() < FINAL_ACCEPTS_TIMEOUT,
    };
    while may_accept() {
        sleep(shortage::PAUSE).await;
        match accept_now(&listener, &admission, &services.tracker).await {
            Ok(()) => return,
            Err(e) => shortage = e,
        }
    }
    let why = shortage::describe(&shortage);
    tracing::warn!("cannot accept the last connections on {at}: {why}");
}
