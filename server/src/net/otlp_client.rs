//! The HTTP client that sends spans to their receiver (feature `otlp`).

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, to_bytes};
use echogate_proto::endpoint::{Credentials, HostPort};
use futures_util::future::{self, Either};
use http::{HeaderValue, Uri, header, uri::Scheme};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use percent_encoding::percent_decode_str;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{
    happy_eyeballs::{self, ConnectError, ConnectOptions},
    request_header::basic_authorization,
    stream::Stream,
    tls::{AppProtocol, client::ClientTls},
};
use crate::text::{credentials::without_credentials, io_error::describe};

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest response, in bytes.
const MAX_RESPONSE: usize = 1 << 20;

/// The HTTP client of the span exporter. Each request has a connection of its own, since there is one
/// request for a batch of spans, every five seconds at most.
#[derive(Clone, Debug)]
pub(crate) struct OtlpClient {
    runtime: Handle,
    /// The file with the certificates by which that of the receiver is verified.
    ca: Option<PathBuf>,
    /// The TLS settings, once they could be read.
    tls: Arc<OnceLock<ClientTls>>,
    /// Whether the last request failed. The log has one message for the first failure, and one for the
    /// first success after it.
    is_failing: Arc<AtomicBool>,
}

impl OtlpClient {
    /// A client that trusts the roots of the system, or the certificates in the file `ca`.
    pub(crate) fn new(runtime: Handle, ca: Option<PathBuf>) -> OtlpClient {
        OtlpClient { runtime, ca, tls: Arc::default(), is_failing: Arc::default() }
    }

    /// The TLS settings for a receiver, read again after a failure. Blocks while certificates are read:
    /// only the exporter's thread may call this.
    fn tls(&self, host: &str) -> Result<ClientTls, String> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = ClientTls::new(host, self.ca.as_deref(), None, AppProtocol::WebSocket)?;
        tls.config()?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// Logs the first failure, and the first success after one.
    fn log(&self, to: &Uri, failure: Option<&str>) {
        let to = without_credentials(&to.to_string());
        let failed_before = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !failed_before => {
                tracing::warn!("spans are lost: {to}: {why}");
            }
            None if failed_before => tracing::info!("spans are exported to {to} again"),
            _ => {}
        }
    }
}

impl HttpClient for OtlpClient {
    // The signature that the macro `async_trait` generates.
    fn send_bytes<'client, 'future>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        Box::pin(self.send_and_log(request))
    }
}

impl OtlpClient {
    async fn send_and_log(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let to = request.uri().clone();
        let sent = async {
            let tls = match to.scheme() == Some(&Scheme::HTTPS) {
                true => Some(self.tls(host(&to)?)?),
                false => None,
            };
            // Timers and sockets need the runtime, to which the exporter's thread does not belong.
            let sending = self.runtime.spawn(async { timeout(TIMEOUT, send(request, tls)).await });
            match sending.await {
                Ok(Ok(response)) => response,
                Ok(Err(_)) => Err(format!("no response within {TIMEOUT:?}")),
                Err(e) => Err(e.to_string()),
            }
        };
        let sent: Result<Response<Bytes>, String> = sent.await;
        let refused = |response: &Response<Bytes>| {
            let status = response.status();
            (!status.is_success()).then(|| format!("the receiver answers {status}"))
        };
        match &sent {
            Ok(response) => self.log(&to, refused(response).as_deref()),
            Err(why) => self.log(&to, Some(why)),
        }
        sent.map_err(HttpError::from)
    }
}

/// Sends one request, over TLS if there are settings for it.
async fn send(request: Request<Bytes>, tls: Option<ClientTls>) -> Result<Response<Bytes>, String> {
    let (mut head, body) = request.into_parts();
    let port = head.uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let at = HostPort { host: host(&head.uri)?.to_owned(), port };
    let deadline = Instant::now() + TIMEOUT;
    let stream = happy_eyeballs::connect(&at, ConnectOptions::default(), deadline).await;
    let stream = stream.map_err(|error| match error {
        ConnectError::Failed { cause, .. } => describe(&cause),
        ConnectError::Unresolved(cause) => cause.to_string(),
        ConnectError::ResolverTimedOut | ConnectError::TimedOut => "no answer".to_owned(),
    })?;
    let stream = match tls {
        None => Stream::from(stream),
        Some(tls) => tls.connect("receiver", stream).await.map_err(|e| describe(&e))?.into(),
    };
    let authority = HeaderValue::try_from(at.to_string()).map_err(|e| e.to_string())?;
    head.headers.insert(header::HOST, authority);
    if let Some(credentials) = credentials(&head.uri)
        && !head.headers.contains_key(header::AUTHORIZATION)
    {
        head.headers.insert(header::AUTHORIZATION, basic_authorization(&credentials));
    }
    head.uri = head.uri.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let exchange = Box::pin(async move {
        let response = sender.send_request(Request::from_parts(head, Body::from(body))).await;
        let (head, body) = response.map_err(|e: hyper::Error| e.to_string())?.into_parts();
        let body = to_bytes(Body::new(body), MAX_RESPONSE).await.map_err(|e| e.to_string())?;
        Ok(Response::from_parts(head, body))
    });
    match future::select(exchange, Box::pin(connection)).await {
        Either::Left((response, _)) => response,
        // After the end of the connection nothing more of the response can arrive.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// The host of a URL, an IPv6 address without its brackets.
fn host(url: &Uri) -> Result<&str, String> {
    let host = url.host().ok_or("the URL has no host")?;
    Ok(host.trim_matches(['[', ']']))
}

/// The user name and the password of a URL.
fn credentials(url: &Uri) -> Option<Credentials> {
    let (user_info, _) = url.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Credentials { user: decode(user), password: decode(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_have_an_ipv6_address_and_credentials() {
        let url = |text: &str| text.parse::<Uri>().unwrap();
        for (text, expected) in
            [("https://[::1]:4318/v1", "::1"), ("http://localhost", "localhost")]
        {
            assert_eq!(host(&url(text)).unwrap(), expected);
        }
        assert!(credentials(&url("http://localhost")).is_none());
        let Credentials { user, password } = credentials(&url("http://a%40b:c:d@h/")).unwrap();
        assert_eq!([user, password], ["a@b", "c:d"]);
    }
}
