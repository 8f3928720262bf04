//! The validated target of a connection.

use std::str::FromStr;

use echogate_proto::{
    endpoint::{Address, Credentials, Endpoint, HostPort, UnixPath},
    ws::HALF_CLOSE,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::target_args::{TargetArgs, ValidFor};
use crate::{
    net::{
        happy_eyeballs::ConnectOptions,
        proxy::{
            Destination,
            selection::{Proxies, Scheme},
        },
        request_header::{RequestHeader, basic_authorization},
        tls::{AppProtocol, client::ClientTls, identity::Identity},
    },
    recording::model::Traffic,
};

/// The target of a connection.
#[derive(Debug)]
pub(super) enum Target {
    Tcp(Destination),
    Tls(Destination, ClientTls),
    Unix(UnixPath),
    Udp(HostPort, ConnectOptions),
    UnixGram(UnixPath),
    WebSocket(Upgrade),
}

/// The traffic of an endpoint.
pub(super) fn traffic_of(address: &Address) -> Traffic {
    match address {
        Address::Ws(..) | Address::Wss(..) => Traffic::Messages,
        Address::Udp(_) | Address::UnixGram(_) => Traffic::Datagrams,
        Address::Tcp(_) | Address::Tls(_) | Address::Unix(_) | Address::Service(_) => {
            Traffic::Bytes
        }
    }
}

/// The schemes of endpoints with this traffic, for errors.
pub(super) fn schemes(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Bytes => "tcp://, tls:// and unix://",
        Traffic::Messages => "ws:// and wss://",
        Traffic::Datagrams => "udp:// and unixgram://",
    }
}

/// A WebSocket upgrade request.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) to: Destination,
    /// The request target: path and query.
    pub(super) path: String,
    /// The header fields besides those of the handshake.
    pub(super) headers: HeaderMap,
    /// The verification of the server; `None` without TLS.
    pub(super) trust: Option<ClientTls>,
    /// Whether the server must select the subprotocol [`HALF_CLOSE`].
    pub(super) half_close: bool,
    /// Whether lines are sent as binary messages instead of text messages.
    pub(super) binary: bool,
}

impl Target {
    /// Validates the target at `url` and its options.
    pub(super) fn new(url: &Endpoint, args: &TargetArgs) -> Result<Target, String> {
        let Endpoint { address, options, credentials } = url;
        if let Some((key, _)) = options.first() {
            return Err(format!("unknown option \"{key}\": a URL to connect to has no options"));
        }
        let websocket = matches!(address, Address::Ws(..) | Address::Wss(..));
        let tls = matches!(address, Address::Tls(_) | Address::Wss(..));
        let tcp = websocket || tls || matches!(address, Address::Tcp(_));
        for (valid_for, flag) in args.given() {
            let (is_valid, schemes) = match valid_for {
                ValidFor::WebSocket => (websocket, schemes(Traffic::Messages)),
                ValidFor::Tls => (tls, "tls:// and wss://"),
                ValidFor::Tcp => (tcp, "tcp://, tls://, ws:// and wss://"),
            };
            if !is_valid {
                return Err(format!("{flag} is valid with {schemes} only"));
            }
        }
        if let Some(flag) = args.address.flag()
            && matches!(address, Address::Unix(_) | Address::UnixGram(_))
        {
            return Err(format!("{flag} has no effect: a Unix socket has no IP address"));
        }
        let options = args.address.options()?;
        let proxies = Proxies::of_client(args.proxy.clone(), args.no_proxy.clone());
        let destination = |scheme, at: &HostPort| {
            let destination = proxies.destination(scheme, at)?;
            Ok::<_, String>(Destination { options, ..destination })
        };
        match address {
            Address::Tcp(at) => Ok(Target::Tcp(destination(Scheme::Tcp, at)?)),
            Address::Tls(at) => {
                Ok(Target::Tls(destination(Scheme::Tls, at)?, trust(args, at, AppProtocol::Bytes)?))
            }
            Address::Unix(path) => Ok(Target::Unix(path.clone())),
            Address::Ws(at, path) | Address::Wss(at, path) => Ok(Target::WebSocket(Upgrade {
                to: destination(if tls { Scheme::Wss } else { Scheme::Ws }, at)?,
                path: path.clone(),
                headers: headers(args, credentials.as_ref())?,
                trust: tls.then(|| trust(args, at, AppProtocol::WebSocket)).transpose()?,
                half_close: false,
                binary: false,
            })),
            Address::Udp(at) => Ok(Target::Udp(at.clone(), options)),
            Address::UnixGram(path) => Ok(Target::UnixGram(path.clone())),
            Address::Service(_) => {
                Err("a service: URL is valid only as the upstream of a route or forward".to_owned())
            }
        }
    }

    /// The kind of data that a connection to the target carries.
    pub(super) fn traffic(&self) -> Traffic {
        match self {
            Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) => Traffic::Bytes,
            Target::Udp(..) | Target::UnixGram(_) => Traffic::Datagrams,
            Target::WebSocket(_) => Traffic::Messages,
        }
    }

    /// Sends the lines of a WebSocket target as binary messages.
    pub(super) fn with_binary(mut self) -> Target {
        if let Target::WebSocket(upgrade) = &mut self {
            upgrade.binary = true;
        }
        self
    }

    /// Requires the subprotocol [`HALF_CLOSE`].
    pub(super) fn with_half_close(self) -> Result<Target, String> {
        let Target::WebSocket(mut upgrade) = self else {
            let schemes = schemes(Traffic::Messages);
            return Err(format!("--half-close is valid with {schemes} only"));
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

/// The verification of the server at `at`, and the client's own certificate.
fn trust(args: &TargetArgs, at: &HostPort, protocol: AppProtocol) -> Result<ClientTls, String> {
    let name = args.server_name.as_deref().unwrap_or(at.without_zone());
    let identity = args.cert.as_ref().map(|cert| Identity::read(cert, args.key.as_deref()));
    let identity = identity.transpose().map_err(|e| e.named("--cert", "--key"))?;
    match args.insecure {
        true => ClientTls::insecure(name, identity, protocol),
        false => ClientTls::new(name, args.ca.as_deref(), identity, protocol),
    }
}

fn headers(args: &TargetArgs, credentials: Option<&Credentials>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for RequestHeader(name, value) in &args.header {
        headers.append(name, value.clone());
    }
    if let Some(origin) = &args.origin {
        let value = HeaderValue::from_str(origin);
        let value = value.map_err(|_| "--origin: a control character is not allowed".to_owned())?;
        headers.insert(header::ORIGIN, value);
    }
    if let Some(credentials) = credentials
        && !headers.contains_key(header::AUTHORIZATION)
    {
        headers.insert(header::AUTHORIZATION, basic_authorization(credentials));
    }
    for protocol in &args.protocol {
        // A subprotocol is a token (RFC 6455 section 4.1), like the name of a header field.
        if HeaderName::from_str(protocol).is_err() {
            return Err(format!("--protocol {protocol:?}: not a token"));
        }
    }
    if !args.protocol.is_empty() {
        let value = HeaderValue::from_str(&args.protocol.join(", "));
        let value = value.map_err(|_| "--protocol: not a token".to_owned())?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let command = TargetArgs::augment_args(clap::Command::new("connect").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        let args = TargetArgs::from_arg_matches(&matches).unwrap();
        Target::new(&args.endpoint()?, &args)
    }

    fn upgrade(arguments: &[&str]) -> Upgrade {
        match target(arguments) {
            Ok(Target::WebSocket(upgrade)) => upgrade,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_default_is_the_upper_service_of_this_machine() {
        let Target::Tcp(at) = target(&[]).unwrap() else { panic!() };
        assert_eq!(at.to_string(), "127.0.0.1:7007");
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
        assert_eq!(error, "--half-close is valid with ws:// and wss:// only");
    }

    #[test]
    fn an_invalid_combination_is_refused_with_the_name_of_the_option() {
        for (arguments, complaint) in [
            (&["service:upper"][..], "a service: URL is valid only as the upstream"),
            (&["udp://h:1", "--origin=o"], "--origin is valid with ws:// and wss:// only"),
            (&["tls://h:1", "--ca=/nowhere/ca.pem"], "/nowhere/ca.pem: no such file"),
            (&["tls://a..b:1"], "\"a..b\" is not a name"),
            (&["tcp://h:1", "--ca=ca.pem"], "--ca is valid with tls:// and wss:// only"),
            (&["ws://h", "--server-name=n"], "--server-name is valid with tls:// and wss:// only"),
            (&["tls://h:1", "--origin=o"], "--origin is valid with ws:// and wss:// only"),
            (&["tcp://h:1?framing=line"], "unknown option \"framing\""),
            (&["tcp://h:1", "--origin=o"], "--origin is valid with ws:// and wss:// only"),
            (&["ws://h", "--header=Upgrade:h2c"], "set by the WebSocket handshake"),
            (&["ws://h", "--header=nocolon"], "NAME:VALUE"),
            (&["ws://h", "--header=a b:c"], "not the name of a header field"),
            (&["ws://h", "--header=Sec-WebSocket-Protocol:x"], "an option of their own, protocol"),
            (&["ws://h", "--protocol=a b"], "not a token"),
        ] {
            let error = target(arguments).unwrap_err();
            assert!(error.contains(complaint), "{arguments:?}: {error}");
        }
    }
}
