//! Header fields of the request to a WebSocket upstream.

use echogate_proto::endpoint::Endpoint;
use http::{HeaderMap, HeaderName, header};

use crate::{
    net::request_header::{RequestHeader, basic_authorization},
    text::escape::escape,
};

/// The fields that the options `header` and the credentials of the URL add to the request.
pub(super) fn parse_headers(endpoint: &Endpoint) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (_, text) in endpoint.options.iter().filter(|(key, _)| key == "header") {
        let RequestHeader(name, value) =
            text.parse().map_err(|why| format!("{}: {why}", shown_name(text)))?;
        headers.append(name, value);
    }
    if let Some(credentials) = &endpoint.credentials
        && !headers.contains_key(header::AUTHORIZATION)
    {
        headers.insert(header::AUTHORIZATION, basic_authorization(credentials));
    }
    Ok(headers)
}

/// The option `header` as errors show it: without its value, which may be a secret.
fn shown_name(text: &str) -> String {
    let name = text.split_once(':').map(|(name, _)| format!("=\"{}:…\"", escape(name)));
    format!("header{}", name.unwrap_or_default())
}

/// Parses the option `pass`: the names of the client's header fields that are passed on.
pub(super) fn parse_names(endpoint: &Endpoint) -> Result<Vec<HeaderName>, String> {
    let Some(names) = endpoint.option("pass") else { return Ok(Vec::new()) };
    let name = |name: &str| {
        let wrong = |why: &str| format!("pass=\"{}\": {why}", escape(name));
        let name = HeaderName::try_from(name.trim())
            .map_err(|_| wrong("expected names of header fields, such as cookie,authorization"))?;
        match RequestHeader::is_of_handshake(&name) || name == header::HOST {
            true => Err(wrong("this header is set by the WebSocket handshake")),
            false => Ok(name),
        }
    };
    names.split(',').map(name).collect()
}
