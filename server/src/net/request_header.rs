//! Header fields that a user adds to the request of an opening handshake.

use std::str::FromStr;

use data_encoding::BASE64;
use echogate_proto::endpoint::Credentials;
use http::{HeaderName, HeaderValue, header};

/// The name and the value of a header field, parsed from `NAME:VALUE`.
#[derive(Clone, Debug)]
pub(crate) struct RequestHeader(pub(crate) HeaderName, pub(crate) HeaderValue);

impl RequestHeader {
    /// Whether the opening handshake itself sets the field `name`.
    pub(crate) fn is_of_handshake(name: &HeaderName) -> bool {
        let own = [
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_EXTENSIONS,
        ];
        own.contains(name)
    }
}

impl FromStr for RequestHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
        let name = HeaderName::from_str(name).map_err(|_| "not the name of a header field")?;
        let value =
            HeaderValue::from_str(value.trim()).map_err(|_| "not the value of a header field")?;
        match name {
            header::SEC_WEBSOCKET_PROTOCOL => {
                Err("subprotocols have an option of their own, protocol".to_owned())
            }
            name if RequestHeader::is_of_handshake(&name) => {
                Err("this header is set by the WebSocket handshake".to_owned())
            }
            name => Ok(RequestHeader(name, value)),
        }
    }
}

/// A user name and a password in the scheme `Basic` (RFC 7617 section 2).
pub(crate) fn basic(Credentials { user, password }: &Credentials) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// The value of `Authorization` for a user name and a password.
pub(crate) fn basic_authorization(credentials: &Credentials) -> HeaderValue {
    let mut value = HeaderValue::from_str(&basic(credentials))
        .expect("the characters of base64 are visible ASCII");
    value.set_sensitive(true);
    value
}
