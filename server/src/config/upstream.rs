//! Upstreams of routes and forwards: the URL and its options.
//!
//! - `websocket`: WebSocket servers; `client_tls`: the options of TLS

mod client_tls;
mod websocket;

use std::{
    borrow::Cow,
    fmt::{self, Display},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use echogate_proto::{
    endpoint::{Address, Endpoint, HostPort, UnixPath},
    framing::{Framing, FramingOptions},
};

use self::client_tls::client_tls;
pub(crate) use self::websocket::WebSocketSpec;
use super::{
    framing::parse_framing,
    values::{UPSTREAM_HOST, check_host, known_options, parse_count, parse_record, tcp_url},
};
use crate::{
    connections::tap::Sides,
    net::{
        proxy_protocol,
        tls::{AppProtocol, client::ClientTls},
    },
    recording::model::Traffic,
    service::Service,
    text::{credentials::without_secrets, escape::escape},
};

/// The upstream of a route or a forward, with the options of its URL.
#[derive(Clone, Debug)]
pub(crate) struct TargetSpec {
    pub(crate) upstream: UpstreamSpec,
    /// The rule for message boundaries, where only one side has messages.
    pub(crate) framing: Framing,
    pub(crate) framing_options: FramingOptions,
    /// The subprotocol: of a route to a byte stream, the one that is selected if the client offers
    /// it but not `binary`; of a forward to a WebSocket, the one that is requested.
    pub(crate) protocol: Option<String>,
    /// The maximum number of simultaneous connections.
    pub(crate) max: Option<u32>,
    /// The version of the PROXY header that is sent to the upstream.
    pub(crate) proxy: Option<proxy_protocol::Version>,
    /// The sides of the connections that are recorded.
    pub(crate) record: Option<Sides>,
    /// The keys of options of echogate in the query of a WebSocket URL, which is the upstream's.
    pub(crate) options_in_query: Vec<String>,
    /// The options [`SHOWN`], each preceded by a space.
    pub(crate) shown_options: String,
}

/// The endpoint to which a route or a forward leads.
#[derive(Clone, Debug)]
pub(crate) enum UpstreamSpec {
    Tcp(HostPort),
    /// A TLS endpoint, with its verification and the client certificate.
    Tls(HostPort, Arc<ClientTls>),
    /// A Unix stream socket.
    Unix(UnixPath),
    WebSocket(Arc<WebSocketSpec>),
    Udp(HostPort),
    /// A Unix datagram socket.
    UnixGram(UnixPath),
    /// A built-in service, in memory.
    Service(Service),
    /// The first plain TCP listener of a service, wherever it is bound: the upstream of default
    /// routes.
    Listener(Service),
}

impl UpstreamSpec {
    /// The kind of data that the upstream carries.
    pub(crate) fn traffic(&self) -> Traffic {
        match self {
            UpstreamSpec::Tcp(_)
            | UpstreamSpec::Tls(..)
            | UpstreamSpec::Unix(_)
            | UpstreamSpec::Service(_)
            | UpstreamSpec::Listener(_) => Traffic::Bytes,
            UpstreamSpec::WebSocket(_) => Traffic::Messages,
            UpstreamSpec::Udp(_) | UpstreamSpec::UnixGram(_) => Traffic::Datagrams,
        }
    }

    /// The URL without its query, which may have a secret.
    pub(super) fn without_query(&self) -> String {
        match self {
            UpstreamSpec::WebSocket(spec) => spec.without_query(),
            other => other.to_string(),
        }
    }

    /// The upstream that the URL `endpoint` names.
    fn new(endpoint: &Endpoint) -> Result<UpstreamSpec, String> {
        Ok(match &endpoint.address {
            Address::Tcp(at) => UpstreamSpec::Tcp(at.clone()),
            Address::Tls(at) => {
                let tls = client_tls(endpoint, at, AppProtocol::Bytes)?;
                UpstreamSpec::Tls(at.clone(), tls)
            }
            Address::Unix(path) => UpstreamSpec::Unix(path.clone()),
            Address::Ws(at, path) | Address::Wss(at, path) => {
                UpstreamSpec::WebSocket(Arc::new(WebSocketSpec::new(endpoint, at, path)?))
            }
            Address::Udp(at) => UpstreamSpec::Udp(at.clone()),
            Address::UnixGram(path) => UpstreamSpec::UnixGram(path.clone()),
            Address::Service(name) => match name.split_once('#') {
                // Without the options, which may be secrets.
                Some((name, _)) => {
                    return Err(format!("service:{name}#…: the options of a service follow ?"));
                }
                None => UpstreamSpec::Service(name.parse()?),
            },
        })
    }
}

impl Display for UpstreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamSpec::Tcp(at) => write!(f, "tcp://{at}"),
            UpstreamSpec::Tls(at, _) => write!(f, "tls://{at}"),
            UpstreamSpec::Unix(path) => write!(f, "unix://{path}"),
            UpstreamSpec::WebSocket(spec) => write!(f, "{spec}"),
            UpstreamSpec::Udp(at) => write!(f, "udp://{at}"),
            UpstreamSpec::UnixGram(path) => write!(f, "unixgram://{path}"),
            UpstreamSpec::Service(service) => write!(f, "service:{service}"),
            UpstreamSpec::Listener(service) => write!(f, "the first listener of {service}"),
        }
    }
}

impl TargetSpec {
    /// A target without options.
    pub(super) fn plain(upstream: UpstreamSpec, framing: Framing) -> TargetSpec {
        TargetSpec {
            upstream,
            framing,
            framing_options: FramingOptions::default(),
            protocol: None,
            max: None,
            proxy: None,
            record: None,
            options_in_query: Vec::new(),
            shown_options: String::new(),
        }
    }

    /// Parses the URL of an upstream for clients that send `client`.
    pub(super) fn parse(url: &str, client: Traffic) -> Result<TargetSpec, String> {
        let url = &*tcp_url(url, UPSTREAM_HOST).map_or(Cow::Borrowed(url), Cow::Owned);
        let endpoint = Endpoint::with_options(url);
        let endpoint = endpoint.map_err(|e| format!("{}: {e}", without_secrets(url)))?;
        // Without credentials and options, which may be secrets.
        let in_url = |why: String| format!("{}: {why}", endpoint.address);
        if let Address::Tcp(at)
        | Address::Tls(at)
        | Address::Udp(at)
        | Address::Ws(at, _)
        | Address::Wss(at, _) = &endpoint.address
        {
            check_remote(at).map_err(in_url)?;
        }
        let upstream = UpstreamSpec::new(&endpoint)?;
        let traffic = upstream.traffic();
        let known = options(&endpoint.address, client, traffic);
        known_options(&endpoint, &known)?;
        let default = match &upstream {
            UpstreamSpec::Service(service) => service.framing(),
            _ => Framing::Bytes,
        };
        let (framing, framing_options) =
            parse_framing(&endpoint, client, traffic, default).map_err(in_url)?;
        let protocol = endpoint.option("protocol").map(parse_protocol).transpose()?;
        if let Some(protocol) = protocol.as_ref().filter(|protocol| !framing.fits(protocol)) {
            let why = format!("protocol={protocol} does not fit framing={framing}");
            return Err(in_url(why));
        }
        let max = endpoint.option("max").map(parse_max).transpose()?;
        let proxy = endpoint.option("proxy").map(str::parse).transpose()?;
        let record = parse_record(&endpoint).map_err(in_url)?;
        // `check` shows the framing of a route itself, also the default.
        let is_shown =
            |key: &str| SHOWN.contains(&key) && (key != "framing" || client != Traffic::Messages);
        let options = endpoint.options.iter().filter(|(key, _)| is_shown(key));
        let shown = options.map(|(key, value)| format!(" {key}={}", escape(value)));
        let shown_options = shown.collect();
        let query = match &endpoint.address {
            Address::Ws(_, path) | Address::Wss(_, path) => path.split_once('?'),
            _ => None,
        };
        let keys = query.map_or("", |(_, query)| query).split('&');
        let keys = keys.map(|pair| pair.split('=').next().unwrap_or(pair));
        let options_in_query = keys.filter(|key| known.contains(key)).map(str::to_owned).collect();
        Ok(TargetSpec {
            upstream,
            framing,
            framing_options,
            protocol,
            max,
            proxy,
            record,
            options_in_query,
            shown_options,
        })
    }
}

/// The options that `check` shows: none that may be secret.
const SHOWN: [&str; 13] = [
    "framing",
    "chunk",
    "invalid",
    "newline",
    "prefix",
    "max",
    "proxy",
    "record",
    "pass",
    "ca",
    "server-name",
    "cert",
    "key",
];

/// The options that are valid in the URL of an upstream.
fn options(address: &Address, client: Traffic, upstream: Traffic) -> Vec<&'static str> {
    use Traffic::{Bytes, Datagrams, Messages};

    let mut known: Vec<_> = match (client, upstream) {
        (Messages, Bytes) => {
            vec!["framing", "chunk", "invalid", "newline", "prefix", "max", "protocol", "proxy"]
        }
        (Bytes, Messages) => {
            vec!["framing", "chunk", "invalid", "newline", "prefix", "max", "protocol", "header"]
        }
        (Messages, Messages) => vec!["max", "header", "pass"],
        (Datagrams, Messages) => vec!["max", "protocol", "header"],
        (Bytes, Bytes) => vec!["max", "proxy"],
        (Bytes, Datagrams) | (Datagrams, Bytes) => vec!["framing", "prefix", "max"],
        (Messages | Datagrams, Datagrams) => vec!["max"],
    };
    known.push("record");
    match address {
        Address::Tls(_) | Address::Wss(..) => known.extend(["ca", "server-name", "cert", "key"]),
        Address::Service(_) => known.retain(|option| *option != "proxy"),
        _ => {}
    }
    known
}

/// Checks that `at` can be connected to.
fn check_remote(HostPort { host, port }: &HostPort) -> Result<(), String> {
    if *port == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    check_host(host)?;
    let Ok(ip) = host.parse::<IpAddr>() else { return Ok(()) };
    let loopback = if ip.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    match ip.to_canonical() {
        canonical if canonical.is_unspecified() => {
            Err(format!("{ip} can only be listened on: use {loopback} to connect to this machine"))
        }
        canonical if canonical.is_multicast() || canonical == Ipv4Addr::BROADCAST => {
            Err(format!("{ip} is a multicast or broadcast address: expected a unicast address"))
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Err(format!(
            "{ip} is a link-local address: add its interface: [{ip}%eth0], for instance"
        )),
        _ => Ok(()),
    }
}

fn parse_max(text: &str) -> Result<u32, String> {
    parse_count(text).map_err(|why| format!("max=\"{text}\": {why}"))
}

/// Parses a subprotocol: a token (RFC 6455 section 4.1).
fn parse_protocol(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    match text {
        "base64" => {
            Err("protocol=base64 is not supported: the payload is passed on unchanged".to_owned())
        }
        text if !text.is_empty() && text.chars().all(token) => Ok(text.to_owned()),
        text => Err(format!("protocol=\"{}\": expected a name, such as mqtt", escape(text))),
    }
}
