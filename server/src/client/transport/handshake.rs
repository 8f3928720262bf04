//! The opening handshake of a WebSocket target.

use std::{io, time::Duration};

use http::header;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::target::Upgrade,
    net::websocket::{Opened, Opening, OpeningError},
};

/// The time limit of the handshake. A gateway may have to dial its upstream first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Performs the handshake on `stream`.
///
/// # Errors
///
/// When the stream fails, the response is invalid, or the server rejects the handshake or selects
/// none of the offered subprotocols.
pub(in crate::client) async fn open<S>(stream: &mut S, upgrade: &Upgrade) -> io::Result<Opened>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Upgrade { at, path, headers, trust, .. } = upgrade;
    let opening = Opening { role: "server", at, tls: trust.is_some(), path, headers };
    let opened = opening.perform(stream, Instant::now() + HANDSHAKE_TIMEOUT).await;
    let opened = opened.map_err(|error| match error {
        OpeningError::TimedOut => {
            let seconds = HANDSHAKE_TIMEOUT.as_secs();
            io::Error::new(io::ErrorKind::TimedOut, format!("{error} within {seconds} seconds"))
        }
        error => error.into(),
    })?;
    if opened.protocol.is_none() && headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let error = "the server supports none of the offered subprotocols";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_respond_times_out() {
        let (mut ours, _theirs) = duplex(4096);
        let (at, path, headers) = ("h:1".parse().unwrap(), "/".to_owned(), HeaderMap::new());
        let upgrade = Upgrade { at, path, headers, trust: None, half_close: false, binary: false };
        let error = open(&mut ours, &upgrade).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let text = "no response to the WebSocket handshake within 30 seconds";
        assert_eq!(error.to_string(), text);
    }
}
