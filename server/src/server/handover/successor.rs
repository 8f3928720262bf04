//! The handover as the predecessor performs it: [`Successor`] is the other process.

use std::{collections::HashSet, os::fd::AsFd, sync::Arc};

use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    END, GREETING, READY, REFUSED, START, STEP, VERSION, check_greeting, check_user, line,
    process_of, within,
};
use crate::{
    net::{descriptor_stream::DescriptorStream, listener::Listener},
    runtime::reception::Reception,
    server::sockets::BoundSockets,
};

/// A process that is ready to take over, and waits until this process accepts no connection.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(super) stream: DescriptorStream,
    pub(super) process: i32,
    /// The identifiers of the sockets that the successor uses.
    used: HashSet<u64>,
}

impl Successor {
    /// Whether the successor uses a socket of this process.
    pub(super) fn uses(&self, socket: u64) -> bool {
        self.used.contains(&socket)
    }
}

/// Passes the sockets to the processes that connect to `listener`, one after the other, until one
/// of them is ready or the reception is stopped.
pub(crate) async fn serve(
    listener: Arc<Listener>,
    sockets: watch::Receiver<BoundSockets>,
    ready: mpsc::Sender<Successor>,
    reception: Reception,
) {
    let Listener::Unix(listener, _) = &*listener else { return };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = reception.stopped() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!("cannot accept connections of --handover, trying again: {e}");
                tokio::select! {
                    () = sleep(STEP) => continue,
                    () = reception.stopped() => return,
                }
            }
        };
        let successor = tokio::select! {
            successor = answer(stream, &sockets) => successor,
            () = reception.stopped() => return,
        };
        if let Some(successor) = successor {
            ready.send(successor).await.ok();
            return;
        }
    }
}

/// Passes the sockets to a process. None if that process does not take over.
async fn answer(stream: UnixStream, sockets: &watch::Receiver<BoundSockets>) -> Option<Successor> {
    let peer = stream.peer_cred().ok()?;
    let process = process_of(&peer);
    let mut stream = DescriptorStream::from(stream);
    let offered = match check_user(&peer) {
        Ok(()) => offer(&mut stream, sockets).await,
        Err(why) => Err(why),
    };
    match offered {
        Ok(Some(used)) => Some(Successor { stream, process, used }),
        Ok(None) => None,
        Err(why) => {
            tracing::warn!(
                "handover to process {process} failed, this server continues to serve: {why}"
            );
            timeout(STEP, stream.send(&format!("{REFUSED}{why}"))).await.ok();
            None
        }
    }
}

/// Passes the sockets, and waits until the other process is ready. Returns the identifiers of the
/// sockets that the other process uses; None if it only probed whether a process answers.
async fn offer(
    stream: &mut DescriptorStream,
    sockets: &watch::Receiver<BoundSockets>,
) -> Result<Option<HashSet<u64>>, String> {
    let Some(greeting) = within(STEP, stream.receive()).await? else { return Ok(None) };
    check_greeting(&greeting)?;
    let sockets = sockets.borrow().clone();
    let passed: Vec<_> = sockets
        .iter()
        .filter_map(|bound| Some((bound.id, bound.socket.clone(), bound.description()?)))
        .collect();
    within(STEP, async {
        stream.send(&format!("{GREETING}{VERSION}")).await?;
        for (_, socket, description) in &passed {
            stream.send_with(description, socket.as_fd()).await?;
        }
        stream.send(END).await
    })
    .await?;
    let ids: Vec<u64> = passed.into_iter().map(|(id, ..)| id).collect();
    drop(sockets);
    let line = line(stream, START).await?;
    let mut words = line.split(' ');
    let is_ready = words.next() == Some(READY);
    let used = words.map(|i| ids.get(i.parse::<usize>().ok()?).copied()).collect();
    match (is_ready, used) {
        (true, Some(used)) => Ok(Some(used)),
        _ => Err(format!("the other process sent {line:?}")),
    }
}
