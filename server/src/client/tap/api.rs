//! Requests to the API of a server.

use std::{path::Path, time::Duration};

use axum::body::{Body, BodyDataStream};
use echogate_proto::endpoint::{Address, Endpoint, HostPort, UnixPath};
use futures_util::StreamExt as _;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    client::dial,
    net::{
        proxy::{
            Destination,
            selection::{Proxies, Scheme},
        },
        stream::Stream,
        tls::{AppProtocol, client::ClientTls},
    },
    text::{escape, io_error::describe},
};

/// The time limit of a response; for a stream of events, of its head.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence in a stream of events. The server sends a comment after 15 s without an
/// event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest event, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// The longest response that is not a stream of events, in bytes.
const MAX_RESPONSE: usize = 64 << 20;

/// The API of a server.
pub(super) struct Api {
    at: At,
    /// The value of `Host`.
    host: String,
    /// The path below which the API is, ending in `/`.
    base: String,
    token: Option<String>,
}

/// The address of a server.
enum At {
    Host(Destination, Option<ClientTls>),
    Unix(UnixPath),
}

impl Api {
    /// The API at an HTTP address.
    ///
    /// # Errors
    ///
    /// The URL is not that of an HTTP server, or an option is not valid with it.
    pub(super) fn new(
        server: &Endpoint,
        ca: Option<&Path>,
        insecure: bool,
        token: Option<&str>,
    ) -> Result<Api, String> {
        let Endpoint { address, options, credentials } = server;
        if !options.is_empty() || credentials.is_some() {
            return Err(
                "expected a URL without options and credentials: a token is given with --token"
                    .to_owned(),
            );
        }
        let proxies = Proxies::of_client(None, None);
        let host = |scheme, at: &HostPort, trust| {
            Ok::<_, String>(At::Host(proxies.destination(scheme, at)?, trust))
        };
        let trust = |at: &HostPort| match insecure {
            true => ClientTls::insecure(at.without_zone(), None, AppProtocol::WebSocket),
            false => ClientTls::new(at.without_zone(), ca, None, AppProtocol::WebSocket),
        };
        let (connection, name, path) = match address {
            Address::Tcp(at) => (host(Scheme::Ws, at, None)?, at.to_string(), "/"),
            Address::Ws(at, path) => (host(Scheme::Ws, at, None)?, at.to_string(), &**path),
            Address::Wss(at, path) => {
                (host(Scheme::Wss, at, Some(trust(at)?))?, at.to_string(), &**path)
            }
            Address::Unix(path) => (At::Unix(path.clone()), "localhost".to_owned(), "/"),
            _ => return Err("expected http://, https:// or unix://".to_owned()),
        };
        let has_tls = matches!(connection, At::Host(_, Some(_)));
        if (ca.is_some() || insecure) && !has_tls {
            let flag = if insecure { "--insecure" } else { "--ca" };
            return Err(format!("{flag} is valid with https:// only"));
        }
        let base = format!("{}/", path.trim_end_matches('/'));
        Ok(Api { at: connection, host: name, base, token: token.map(str::to_owned) })
    }

    /// Requests `path`, and parses the response.
    ///
    /// # Errors
    ///
    /// No connection, an error of the server in its own words, or an unexpected response.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let body = within("answer", RESPONSE_TIMEOUT, async {
            let body = self.request(path).await?;
            axum::body::to_bytes(body, MAX_RESPONSE).await.map_err(|error| error.to_string())
        });
        let body = body.await?;
        serde_json::from_slice(&body).map_err(|error| unexpected(path, &error))
    }

    /// Subscribes to the events of `path`.
    ///
    /// # Errors
    ///
    /// No connection, or an error of the server in its own words.
    pub(super) async fn events(&self, path: &str) -> Result<Events, String> {
        let body = within("answer", RESPONSE_TIMEOUT, self.request(path)).await?;
        Ok(Events { stream: body.into_data_stream(), buffer: Vec::new(), path: path.to_owned() })
    }

    /// The body of a successful response.
    async fn request(&self, path: &str) -> Result<Body, String> {
        let stream = match &self.at {
            At::Host(to, trust) => dial::host(to, trust.as_ref()).await,
            At::Unix(path) => dial::unix(path).await.map(Stream::from),
        };
        let stream = stream.map_err(|error| describe(&error))?;
        let mut request = Request::get(format!("{}{path}", self.base))
            .header(header::HOST, &self.host)
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| match error.is_parse() {
            true => "the response is not HTTP: expected the server's HTTP address".to_owned(),
            false => format!("HTTP: {error}"),
        };
        let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(failed)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(failed)?;
        checked(response).await
    }
}

/// The result of `answer`, unless it takes longer than `limit`; `what` names it for the error.
async fn within<T>(
    what: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let silent = |_| format!("no {what} within {} seconds", limit.as_secs());
    timeout(limit, answer).await.map_err(silent)?
}

/// The body of a successful response.
///
/// # Errors
///
/// The status and the first line of any other response.
async fn checked(response: Response<Incoming>) -> Result<Body, String> {
    let status = response.status();
    let body = Body::new(response.into_body());
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = axum::body::to_bytes(body, 64 * 1024).await.unwrap_or_default();
    let line = escape::first_line(&String::from_utf8_lossy(&text), 300);
    let separator = if line.is_empty() { "" } else { ": " };
    Err(format!("the server answered {}{separator}{line}", status.as_u16()))
}

fn unexpected(path: &str, error: &serde_json::Error) -> String {
    format!("/{path}: not a response of echogate: {error}")
}

/// Server-sent events with JSON.
pub(super) struct Events {
    stream: BodyDataStream,
    /// Received bytes that have not been parsed.
    buffer: Vec<u8>,
    path: String,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// The connection fails, is silent for [`EVENT_TIMEOUT`], or carries something else than
    /// events.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.buffer.drain(..=searched + end).collect();
                searched = 0;
                if let Some(data) = line.strip_prefix(b"data:") {
                    let event = serde_json::from_slice(data);
                    return event.map(Some).map_err(|error| unexpected(&self.path, &error));
                }
                continue;
            }
            searched = self.buffer.len();
            if searched > MAX_EVENT {
                return Err(format!("/{}: an event of more than 16 MiB", self.path));
            }
            match within("data", EVENT_TIMEOUT, async { Ok(self.stream.next().await) }).await? {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(format!("the connection failed: {error}")),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use serde_json::Value;
    use tokio::{
        net::UnixListener,
        time::{Instant, sleep},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_accepts_and_does_not_answer_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let server = format!("unix://{}", path.display()).parse().unwrap();
        let api = Api::new(&server, None, false, None).unwrap();
        let error = api.get::<Value>("api/connections").await.unwrap_err();
        assert_eq!(error, "no answer within 10 seconds");
        assert!(api.events("api/connections/1/tap").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_events_may_be_silent_as_long_as_the_server_breaks_the_silence() {
        let start = Instant::now();
        let comments = stream::iter(0..9).then(|_| async {
            sleep(Duration::from_secs(15)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b":\n\n"))
        });
        let body = Body::from_stream(comments.chain(stream::pending()));
        let (stream, path) = (body.into_data_stream(), String::new());
        let mut events = Events { stream, buffer: Vec::new(), path };
        let error = events.next::<Value>().await.unwrap_err();
        assert_eq!(error, "no data within 60 seconds");
        assert_eq!(start.elapsed(), Duration::from_secs(9 * 15) + EVENT_TIMEOUT);
    }
}
