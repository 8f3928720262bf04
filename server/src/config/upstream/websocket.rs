//! WebSocket servers as upstreams.

use std::{
    fmt::{self, Display},
    sync::Arc,
};

use echogate_proto::endpoint::{Address, Endpoint, HostPort};
use http::{HeaderMap, HeaderName};

use super::client_tls::client_tls;
use crate::{
    config::headers::{parse_headers, parse_names},
    net::{
        proxy::selection::Scheme,
        tls::{AppProtocol, client::ClientTls},
    },
};

/// A WebSocket server, and the request that is sent to it.
#[derive(Debug)]
pub(crate) struct WebSocketSpec {
    pub(crate) at: HostPort,
    /// The path and the query of the request.
    pub(crate) path: String,
    /// The verification of the server, for `wss://`.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// Header fields that are added to the request.
    pub(crate) headers: HeaderMap,
    /// The names of the header fields that are passed on from the client's request.
    pub(crate) pass: Vec<HeaderName>,
}

impl WebSocketSpec {
    /// The server at `at` that the URL `endpoint` names.
    pub(super) fn new(
        endpoint: &Endpoint,
        at: &HostPort,
        path: &str,
    ) -> Result<WebSocketSpec, String> {
        let is_tls = matches!(endpoint.address, Address::Wss(..));
        let tls = is_tls.then(|| client_tls(endpoint, at, AppProtocol::WebSocket));
        Ok(WebSocketSpec {
            at: at.clone(),
            path: path.to_owned(),
            tls: tls.transpose()?,
            headers: parse_headers(endpoint)?,
            pass: parse_names(endpoint)?,
        })
    }

    /// The scheme, which determines the proxy.
    pub(crate) fn proxy_scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Wss } else { Scheme::Ws }
    }

    /// The URL without its query, which may have a secret.
    pub(crate) fn without_query(&self) -> String {
        let url = self.to_string();
        url.split('?').next().unwrap_or(&url).to_owned()
    }
}

impl Display for WebSocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.at, self.path)
    }
}
