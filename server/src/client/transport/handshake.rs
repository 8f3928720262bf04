//! The opening handshake of a WebSocket target.

use std::{io, time::Duration};

use http::header;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::target::Upgrade,
    net::websocket::{Established, Heads, Opening, OpeningError},
};

/// The time limit of the handshake. A gateway may have to dial its upstream first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Performs the handshake on `stream`. `heads` gets the heads of request and response, also after a
/// failure.
///
/// # Errors
///
/// The stream fails, the response is invalid, or the server rejects the handshake or selects none
/// of the offered subprotocols.
pub(in crate::client) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upgrade: &Upgrade,
    heads: &mut Heads,
) -> io::Result<Established> {
    let Upgrade { to, path, headers, trust, .. } = upgrade;
    let opening = Opening { role: "server", at: &to.host, tls: trust.is_some(), path, headers };
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let opened = opening.perform_into(stream, deadline, heads).await;
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
    use crate::net::{happy_eyeballs::ConnectOptions, proxy::Destination};

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_respond_times_out() {
        let (mut ours, _theirs) = duplex(4096);
        let to = Destination {
            host: "h:1".parse().unwrap(),
            proxy: None,
            options: ConnectOptions::default(),
        };
        let (path, headers) = ("/".to_owned(), HeaderMap::new());
        let upgrade = Upgrade { to, path, headers, trust: None, half_close: false, binary: false };
        let error = open(&mut ours, &upgrade, &mut Heads::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let text = "no response to the WebSocket handshake within 30 seconds";
        assert_eq!(error.to_string(), text);
    }
}
