//! The accept loop of a listener: accept, admit, read the PROXY header, dispatch.
//!
//! - `accepted`: an accepted connection, which waits for its permit and its PROXY header
//! - `backlog`: the last connections of a listener that is closed
//! - `shortage`: a shortage of file descriptors or memory

mod accepted;
mod backlog;
mod shortage;

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use futures_util::FutureExt;
use nix::errno::Errno;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;

use self::{
    accepted::{read_proxy_header_and_dispatch, wait_for_permit},
    shortage::Shortage,
};
use super::admission::Admission;
use crate::{
    connections::{limits::descriptors, registry::Peer},
    net::{
        listener::{Listener, belongs_to_connection},
        stream::Stream,
    },
    runtime::reception::Reception,
};

/// The maximum number of accepted connections of a listener that wait for a permit. Further
/// connections stay in the backlog, even hairpins, which need no permit.
const MAX_WAITING: usize = 128;

/// Accepts connections until the reception is stopped, and dispatches each in a task of its own.
///
/// Where the connection limit is reached, up to [`MAX_WAITING`] accepted connections wait for a
/// permit. Permits are taken after accept(2), not before: a listener that waits for a client
/// would hold a permit that another listener needs, and hairpins need none.
///
/// No error ends the loop: an error that belongs to a connection is skipped; a shortage of file
/// descriptors or memory is logged and waited out. A connection whose descriptor is in the reserve,
/// and which may not use the reserve, waits too, and no other connection is accepted meanwhile.
///
/// Closing a listener resets the connections in its backlog. These are therefore accepted at the
/// end, unless they are left to another process ([`backlog::accept`]). `tasks` tracks connections
/// that wait for a permit or for a PROXY header.
pub(super) async fn accept(
    listener: Arc<Listener>,
    at: String,
    admission: Admission,
    reception: Reception,
    tasks: TaskTracker,
) {
    let shutting_down = admission.shutting_down();
    let mut shortage = Shortage::new(at);
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &admission) => accepted,
            () = reception.stopped() => break,
        };
        match accepted.unwrap_or_else(|| Err(Errno::EMFILE.into())) {
            Ok((mut stream, peer)) => {
                if stream.is_in_reserve() && !admission.may_use_reserve() {
                    shortage.begins(&Errno::EMFILE.into());
                    tokio::select! {
                        () = leave_reserve(&mut stream) => shortage.ends(),
                        // The connection is served nevertheless, since it is the last one.
                        () = reception.stopped() => {}
                    }
                } else {
                    shortage.ends();
                }
                let mut admitted = Box::pin(admission.admit(&stream, &peer));
                if let Some(admitted) = (&mut admitted).now_or_never() {
                    read_proxy_header_and_dispatch(stream, peer, admitted, &tasks);
                    continue;
                }
                let is_waiting = tokio::select! {
                    is_waiting = waiting.clone().acquire_owned() => is_waiting.ok(),
                    () = reception.stopped() => None,
                };
                let shutting_down = shutting_down.clone();
                let served = wait_for_permit(stream, peer, admitted, shutting_down, tasks.clone());
                tasks.spawn(async move {
                    served.await;
                    drop(is_waiting);
                });
            }
            Err(e) if belongs_to_connection(&e) => {
                tracing::debug!("a connection on {} was not accepted: {e}", shortage.at);
            }
            Err(e) => {
                shortage.begins(&e);
                let pause = match admission.may_use_reserve() {
                    true => shortage::HTTP_PAUSE,
                    false => shortage::PAUSE,
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = reception.stopped() => break,
                }
            }
        }
    }
    if !reception.is_left() {
        backlog::accept(listener, shortage.at, admission, tasks).await;
    }
}

/// Accepts the next connection; None while only descriptors are left that connections of this socket
/// may not use.
async fn next(listener: &Listener, admission: &Admission) -> Option<io::Result<(Stream, Peer)>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|cx| match descriptors::are_short(listener) && !admission.may_use_reserve() {
        true => Poll::Ready(None),
        false => accept.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Waits until a descriptor outside the reserve is free, and moves a connection there.
async fn leave_reserve(stream: &mut Stream) {
    while stream.leave_reserve().is_err() {
        sleep(shortage::PAUSE).await;
    }
}
