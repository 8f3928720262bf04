//! What is to be called, and whether the options given go with it.

use std::str::FromStr;

use data_encoding::BASE64;
use echogate_proto::endpoint::{Address, Credentials, Endpoint, HostPort, UnixPath};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Call;
use crate::net::tls::{Inside, trust::Trust};

/// What is to be called, and how.
#[derive(Debug)]
pub(super) enum Target {
    Tcp(HostPort),
    Tls(HostPort, Trust),
    Unix(UnixPath),
    Udp(HostPort),
    UnixGram(UnixPath),
    WebSocket(Upgrade),
}

/// A WebSocket to be asked for.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) at: HostPort,
    /// Path and query, as they stand in the request.
    pub(super) path: String,
    /// What the request has beside the headers of the handshake itself.
    pub(super) headers: HeaderMap,
    /// How the server is verified, over TLS.
    pub(super) trust: Option<Trust>,
    /// The subprotocol [`HALF_CLOSE`] has to be agreed on.
    pub(super) half_close: bool,
    /// Lines are binary messages, too.
    pub(super) binary: bool,
}

/// The subprotocol in which an empty binary message ends one side alone.
pub(super) const HALF_CLOSE: &str = "half-close";

/// A header of the user's own for the WebSocket request.
#[derive(Clone, Debug)]
pub(super) struct Header(HeaderName, HeaderValue);

impl Call {
    /// Whether messages have ends of their own there.
    pub(super) fn has_messages(&self) -> bool {
        use Address::{Udp, UnixGram, Ws, Wss};
        matches!(self.url.address, Udp(_) | UnixGram(_) | Ws(..) | Wss(..))
    }
}

impl Target {
    /// What `call` asks for, or why it makes no sense.
    pub(super) fn new(call: &Call) -> Result<Target, String> {
        let Endpoint { address, options, .. } = &call.url;
        if let Some((key, _)) = options.first() {
            return Err(format!("unknown option \"{key}\""));
        }
        let websocket = matches!(address, Address::Ws(..) | Address::Wss(..));
        if let Some(flag) = websocket_flag(call).filter(|_| !websocket) {
            return Err(format!("{flag} goes with ws:// and wss:// only"));
        }
        let tls = matches!(address, Address::Tls(_) | Address::Wss(..));
        if let Some(flag) = tls_flag(call).filter(|_| !tls) {
            return Err(format!("{flag} goes with tls:// and wss:// only"));
        }
        match address {
            Address::Tcp(at) => Ok(Target::Tcp(at.clone())),
            Address::Tls(at) => Ok(Target::Tls(at.clone(), trust(call, at, Inside::Bytes)?)),
            Address::Unix(path) => Ok(Target::Unix(path.clone())),
            Address::Ws(at, path) | Address::Wss(at, path) => Ok(Target::WebSocket(Upgrade {
                at: at.clone(),
                path: path.clone(),
                headers: headers(call)?,
                trust: tls.then(|| trust(call, at, Inside::WebSocket)).transpose()?,
                half_close: false,
                binary: false,
            })),
            Address::Udp(at) => Ok(Target::Udp(at.clone())),
            Address::UnixGram(path) => Ok(Target::UnixGram(path.clone())),
            Address::Service(_) => Err("only a server's own routes lead to service:".to_owned()),
        }
    }

    /// The same, with messages in the form that `flag` asks for: `--text` or `--binary`.
    pub(super) fn with_form(self, flag: &str) -> Result<Target, String> {
        let Target::WebSocket(mut upgrade) = self else {
            return Err(format!("{flag} goes with ws:// and wss:// only"));
        };
        upgrade.binary = flag == "--binary";
        Ok(Target::WebSocket(upgrade))
    }

    /// The same, on the condition that one side can be ended alone.
    pub(super) fn with_half_close(self) -> Result<Target, String> {
        let Target::WebSocket(mut upgrade) = self else {
            return Err("--half-close goes with ws:// and wss:// only".to_owned());
        };
        upgrade.half_close = true;
        let others = upgrade.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let others = others.and_then(|others| others.to_str().ok());
        let all: Vec<&str> = [HALF_CLOSE].into_iter().chain(others).collect();
        let all = HeaderValue::from_str(&all.join(", ")).map_err(|error| error.to_string())?;
        upgrade.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, all);
        Ok(Target::WebSocket(upgrade))
    }
}

/// How the server at `at` is verified.
fn trust(call: &Call, at: &HostPort, inside: Inside) -> Result<Trust, String> {
    let name = call.server_name.as_deref().unwrap_or(at.without_zone());
    match call.insecure {
        true => Trust::none(name, inside),
        false => Trust::new(name, call.ca.as_deref(), inside),
    }
}

/// The first flag given that only TLS has a use for.
fn tls_flag(call: &Call) -> Option<&'static str> {
    let given = [
        ("--ca", call.ca.is_some()),
        ("--insecure", call.insecure),
        ("--server-name", call.server_name.is_some()),
    ];
    given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
}

/// The first flag given that only a WebSocket has a use for.
fn websocket_flag(call: &Call) -> Option<&'static str> {
    let given = [
        ("--header", !call.header.is_empty()),
        ("--origin", call.origin.is_some()),
        ("--protocol", !call.protocol.is_empty()),
    ];
    given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
}

fn headers(call: &Call) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for Header(name, value) in &call.header {
        headers.append(name, value.clone());
    }
    if let Some(origin) = &call.origin {
        let value = HeaderValue::from_str(origin);
        let value = value.map_err(|_| "--origin: a control character in it".to_owned())?;
        headers.insert(header::ORIGIN, value);
    }
    if let Some(Credentials { user, password }) = &call.url.credentials
        && !headers.contains_key(header::AUTHORIZATION)
    {
        let basic = BASE64.encode(format!("{user}:{password}").as_bytes());
        let mut value = HeaderValue::from_str(&format!("Basic {basic}"))
            .map_err(|_| "the user name cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    for protocol in &call.protocol {
        // A subprotocol is a token (RFC 6455 section 4.1), as a header's name is.
        if HeaderName::from_str(protocol).is_err() {
            return Err(format!("--protocol {protocol:?}: not a name"));
        }
    }
    if !call.protocol.is_empty() {
        let value = HeaderValue::from_str(&call.protocol.join(", "));
        let value = value.map_err(|_| "--protocol: not a name".to_owned())?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(headers)
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
        let name = HeaderName::from_str(name).map_err(|_| "not the name of a header")?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| "not a header's value")?;
        let own = [
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_EXTENSIONS,
        ];
        match name {
            header::SEC_WEBSOCKET_PROTOCOL => Err("use --protocol".to_owned()),
            name if own.contains(&name) => Err("the WebSocket handshake's own header".to_owned()),
            name => Ok(Header(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let command = Call::augment_args(clap::Command::new("connect").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        Target::new(&Call::from_arg_matches(&matches).unwrap())
    }

    fn upgrade(arguments: &[&str]) -> Upgrade {
        match target(arguments) {
            Ok(Target::WebSocket(upgrade)) => upgrade,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_url_it_is_the_upper_service_of_this_machine() {
        let Target::Tcp(at) = target(&[]).unwrap() else { panic!() };
        assert_eq!(at.to_string(), "127.0.0.1:7007");
    }

    #[test]
    fn a_websocket_keeps_its_path_and_query() {
        assert_eq!(upgrade(&["ws://h/a/b?token&x=y"]).path, "/a/b?token&x=y");
        assert_eq!(upgrade(&["ws://h"]).path, "/");
    }

    #[test]
    fn headers_origin_and_protocols_are_collected() {
        let headers = upgrade(&[
            "ws://h",
            "--header=X-A: 1",
            "--header=x-a:2",
            "--origin=http://localhost:1",
            "--protocol=binary",
            "--protocol=mqtt",
        ])
        .headers;
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("x-a"), ["1", "2"]);
        assert_eq!(all("origin"), ["http://localhost:1"]);
        assert_eq!(all("sec-websocket-protocol"), ["binary, mqtt"]);
    }

    #[test]
    fn half_close_is_offered_before_other_subprotocols_and_for_websockets_only() {
        let offered = |arguments| {
            let Ok(Target::WebSocket(upgrade)) = target(arguments).unwrap().with_half_close()
            else {
                panic!()
            };
            upgrade.headers["sec-websocket-protocol"].clone()
        };
        assert_eq!(offered(&["ws://h"]), "half-close");
        assert_eq!(offered(&["ws://h", "--protocol=a", "--protocol=b"]), "half-close, a, b");
        let error = target(&["tcp://h:1"]).unwrap().with_half_close().unwrap_err();
        assert_eq!(error, "--half-close goes with ws:// and wss:// only");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_name() {
        for (arguments, complaint) in [
            (&["service:upper"][..], "only a server's own routes lead to service:"),
            (&["udp://h:1", "--origin=o"], "--origin goes with ws:// and wss:// only"),
            (&["tls://h:1", "--ca=/nowhere/ca.pem"], "/nowhere/ca.pem: no such file"),
            (&["tls://a..b:1"], "\"a..b\" is no name"),
            (&["tcp://h:1", "--ca=ca.pem"], "--ca goes with tls:// and wss:// only"),
            (&["ws://h", "--server-name=n"], "--server-name goes with tls:// and wss:// only"),
            (&["tls://h:1", "--origin=o"], "--origin goes with ws:// and wss:// only"),
            (&["tcp://h:1?framing=line"], "unknown option \"framing\""),
            (&["tcp://h:1", "--origin=o"], "--origin goes with ws:// and wss:// only"),
            (&["ws://h", "--header=Upgrade:h2c"], "handshake's own"),
            (&["ws://h", "--header=nocolon"], "NAME:VALUE"),
            (&["ws://h", "--header=a b:c"], "not the name of a header"),
            (&["ws://h", "--header=Sec-WebSocket-Protocol:x"], "use --protocol"),
            (&["ws://h", "--protocol=a b"], "not a name"),
        ] {
            let error = target(arguments).unwrap_err();
            assert!(error.contains(complaint), "{arguments:?}: {error}");
        }
    }
}
