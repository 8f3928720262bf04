//! The heads of an opening handshake, as observers of the connection see them.

use axum::{
    http::{HeaderMap, Version, header, request::Parts},
    response::Response,
};

use echogate_proto::recording::Opened;

use crate::text::secrets;

/// The heads of an opening handshake, without the values of secrets.
#[derive(Debug)]
pub(super) struct Heads {
    request: String,
    response: String,
    /// The selected subprotocol.
    protocol: Option<String>,
}

impl Heads {
    pub(super) fn new(request: &Parts, response: &Response) -> Heads {
        let Parts { method, uri, version, headers, .. } = request;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let status = response.status();
        // The version of the response is that of the request, which hyper sets when it writes it.
        let version = match *version {
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        };
        let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        Heads {
            request: head(&format!("{method} {path} {version}"), headers),
            response: head(
                &format!(
                    "{version} {} {}",
                    status.as_u16(),
                    status.canonical_reason().unwrap_or_default()
                ),
                response.headers(),
            ),
            protocol: protocol.and_then(|name| name.to_str().ok()).map(str::to_owned),
        }
    }

    /// Adds the heads to the description of a connection.
    pub(super) fn describe(self, opened: Opened) -> Opened {
        let Heads { request, response, protocol } = self;
        Opened { request: Some(request), response: Some(response), protocol, ..opened }
    }
}

/// A head: its first line, and the fields.
fn head(first: &str, headers: &HeaderMap) -> String {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let mut head = String::with_capacity(first.len() + fields.sum::<usize>() + 4);
    head.extend([first, "\r\n"]);
    for (name, value) in headers {
        let value = match secrets::is_secret(name.as_str()) {
            true => "***".into(),
            false => String::from_utf8_lossy(value.as_bytes()),
        };
        head.extend([name.as_str(), ": ", &value, "\r\n"]);
    }
    head.push_str("\r\n");
    head
}
