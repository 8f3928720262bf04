//! The handover as the successor performs it: [`Predecessor`] is the other process.

use std::io;

use tokio::{net::UnixStream, time::timeout};

use super::{
    END, GREETING, READY, REFUSED, START, STEP, STOP, STOPPED, VERSION, check_greeting, check_user,
    line, process_of, within,
};
use crate::{
    config::HandoverPath,
    net::descriptor_stream::DescriptorStream,
    server::sockets::{BoundSocket, BoundSockets},
    text::io_error,
};

/// A process that has passed its sockets, and serves until this one asks it to stop.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: DescriptorStream,
    path: HandoverPath,
    pub(super) process: i32,
    /// The sockets, in the order in which they were passed.
    pub(crate) sockets: BoundSockets,
}

impl Predecessor {
    /// Receives the sockets of the process that answers at `path`; None if there is no process.
    ///
    /// # Errors
    ///
    /// One line: the process at `path` hands nothing over to this one.
    pub(crate) async fn connect(path: &HandoverPath) -> Result<Option<Predecessor>, String> {
        let stream = match timeout(STEP, UnixStream::connect(path.path())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) if is_free(&e) => return Ok(None),
            Ok(Err(e)) => return Err(failed(path, &io_error::describe(&e))),
            Err(_) => return Err(failed(path, &format!("no connection within {STEP:?}"))),
        };
        Predecessor::receive(stream, path).await.map(Some).map_err(|why| failed(path, &why))
    }

    async fn receive(stream: UnixStream, path: &HandoverPath) -> Result<Predecessor, String> {
        let peer = stream.peer_cred().map_err(|e| io_error::describe(&e))?;
        check_user(&peer)?;
        let process = process_of(&peer);
        let mut stream = DescriptorStream::from(stream);
        within(STEP, stream.send(&format!("{GREETING}{VERSION}"))).await?;
        // The predecessor may be serving another successor first.
        check_greeting(&accepted(line(&mut stream, START + STEP).await?)?)?;
        let mut sockets = BoundSockets::default();
        loop {
            let line = accepted(line(&mut stream, STEP).await?)?;
            if line == END {
                return Ok(Predecessor { stream, path: path.clone(), process, sockets });
            }
            let descriptor = stream.descriptor();
            let descriptor = descriptor.ok_or_else(|| format!("no descriptor for \"{line}\""))?;
            sockets.push(BoundSocket::described(&line, descriptor)?);
        }
    }

    /// Sends that this process is ready and uses the sockets `used`, and waits until the
    /// predecessor accepts no connection.
    ///
    /// # Errors
    ///
    /// One line: the predecessor continues to serve, or has ended.
    pub(super) async fn stop(&mut self, used: &BoundSockets) -> Result<(), String> {
        let passed = self.sockets.iter().enumerate();
        let positions =
            passed.filter(|(_, bound)| used.has(bound.id)).map(|(i, _)| format!(" {i}"));
        let ready = format!("{READY}{}", positions.collect::<String>());
        let stopped = async {
            within(STEP, self.stream.send(&ready)).await?;
            accepted(line(&mut self.stream, STOP + STEP).await?)
        };
        match stopped.await {
            Ok(line) if line == STOPPED => Ok(()),
            Ok(line) => Err(failed(&self.path, &format!("the other process sent {line:?}"))),
            Err(why) => Err(failed(&self.path, &why)),
        }
    }
}

/// The line, unless the other process refuses with it.
fn accepted(line: String) -> Result<String, String> {
    match line.strip_prefix(REFUSED) {
        Some(why) => Err(format!("refused by the process there: {why}")),
        None => Ok(line),
    }
}

/// Whether no process listens on the socket.
fn is_free(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn failed(path: &HandoverPath, why: &str) -> String {
    format!("cannot take over from the server at {} (--handover): {why}", path.path().display())
}
