//! The settings of one source, as flags. The environment and the file are converted to flags, so
//! that every source accepts the same values.

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use echogate_proto::close::CloseCode;
use jiff::tz::TimeZone;

use super::{
    BasePath, ForwardSpec, HandoverPath, HttpAddress, ListenerSpec, LogFormat, RouteSpec,
    cluster::ClusterUrl,
    origin::AllowedOrigin,
    values::{
        parse_count, parse_drain_code, parse_duration, parse_size, parse_timeout, parse_zone,
    },
};
use crate::{
    net::{
        authority::AllowedHost,
        networks::{Network, TrustedProxy},
        proxy::{Proxy, no_proxy::NoProxy},
    },
    recording::format::Format,
    text::{credentials::without_secrets, escape::escape},
};

/// The settings of one source: the command line, the environment or a file. `None` and empty lists
/// mean that the source does not give the setting.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigLayer {
    /// Serve the page, the API and the WebSocket routes on this address (repeatable): [HOST:]PORT,
    /// where a port alone means localhost; http://HOST:PORT for plain HTTP even with a certificate;
    /// https://HOST:PORT; or unix:///PATH?mode=660 for plain HTTP on a Unix socket with these
    /// permissions [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) http: Vec<HttpAddress>,

    /// Serve the page, the API and the WebSocket routes below this path as well, such as
    /// /tools/echogate, for a proxy that publishes the server there, whether or not the proxy
    /// strips the path
    #[arg(long, value_name = "PATH")]
    pub(super) base_path: Option<BasePath>,

    /// Run a built-in service on an endpoint, such as upper=tcp://127.0.0.1:7007 (repeatable). The
    /// scheme is tcp, tls, unix, udp or unixgram. Options of the URL: ?once ends each connection
    /// after one message; ?mode=660 sets the permissions of a Unix socket; ?record records the
    /// connections (--record) [default: upper on port 7007, time on 7013, chat on 7017, each on
    /// 127.0.0.1 and ::1]
    #[arg(long, value_name = "SERVICE=URL")]
    pub(super) listen: Vec<ListenerSpec>,

    /// Connect a WebSocket path to an upstream, such as /ws=tcp://127.0.0.1:7007?framing=message
    /// (repeatable); /* is every path without another route. The scheme is tcp, tls, unix, service,
    /// ws, wss, udp or unixgram. Options of the URL, which follow # instead of ? in a ws or wss
    /// URL: framing=bytes, text, line, length or message (to a byte stream); chunk=BYTES, the
    /// largest message to the client (bytes, text); invalid=close, replace or binary, the handling
    /// of invalid UTF-8 (text, line); newline=lf or crlf, the line ending towards the upstream
    /// (line); prefix=2 or 4, the size of the length prefix in bytes (length); max=N, the maximum
    /// number of connections; protocol=NAME, the subprotocol; proxy=v1 or v2, the version of a
    /// PROXY header with the client's address; ca=FILE and server-name=NAME, the CA certificates
    /// and the name by which a tls or wss upstream is verified; cert=FILE and key=FILE, the client
    /// certificate for it; record or record=both, record the client's side or both (--record);
    /// header=NAME:VALUE, a header field added to the request to a ws or wss upstream (repeatable);
    /// pass=NAME,NAME, the header fields passed on from the client's request [default: /ws to
    /// upper, /ws/echo, /ws/time, /ws/chat and /ws/operator]
    #[arg(long, value_name = "PATH=URL")]
    pub(super) route: Vec<RouteSpec>,

    /// Pass the connections of a socket to an upstream, such as 5433=wss://gateway.example/db
    /// (repeatable). LISTEN is [HOST:]PORT for TCP on this machine or HOST, or a URL with tcp, tls,
    /// unix, udp or unixgram. URL and its options are as in --route; framing applies where one side
    /// has messages and the other has none
    #[arg(long, value_name = "LISTEN=URL")]
    pub(super) forward: Vec<ForwardSpec>,

    /// Whether the default of `http` is empty: set by `echogate forward`.
    #[arg(skip)]
    pub(super) without_http: bool,

    /// Listen backlog: the number of connections that the kernel queues until they are accepted.
    /// Limited by net.core.somaxconn [default: 4096]
    #[arg(long, value_name = "N", value_parser = parse_count::<u32>)]
    pub(super) backlog: Option<u32>,

    /// Time zone of the service time, such as Europe/Berlin [default: the system's]
    #[arg(long, value_name = "NAME", value_parser = parse_zone)]
    pub(super) timezone: Option<TimeZone>,

    /// Format of the log on standard error: text, or json with one object per line [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,

    /// Read the operators' token, at least 16 characters, from the first line of this file. With
    /// the token, operators answer chat, and tap and close connections from other machines
    /// [default: generate a token, and print it if there is chat]
    #[arg(long, value_name = "FILE")]
    pub(super) operator_token_file: Option<PathBuf>,

    /// Certificate in PEM format, followed by its intermediate certificates. With a certificate,
    /// HTTP is served as HTTPS, and plain HTTP requests are redirected there or refused. Read again
    /// on SIGHUP
    #[arg(long, visible_alias = "cert", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,

    /// Private key of the certificate in PEM format, not encrypted [default: in the file of the
    /// certificate]
    #[arg(long, visible_alias = "key", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,

    /// Refuse plain HTTP on an HTTPS port instead of redirecting browsers to https://
    #[arg(long, visible_alias = "ssl-only")]
    pub(super) tls_only: bool,

    /// Serve the files of this directory instead of the built-in page, without its
    /// Content-Security-Policy. Hidden files are not served; symbolic links are followed
    #[arg(long, visible_alias = "web", value_name = "DIR")]
    pub(super) web_root: Option<PathBuf>,

    /// Accept WebSocket connections from pages of this origin, besides the server's own pages
    /// (repeatable): SCHEME://HOST[:PORT]; null for pages without an origin, such as sandboxed
    /// frames and local files (any site can create these); file://; or * for all pages
    #[arg(long, value_name = "ORIGIN")]
    pub(super) allow_origin: Vec<AllowedOrigin>,

    /// Accept requests whose Host header is this name, besides IP addresses and localhost: a host
    /// name without scheme and port (repeatable)
    #[arg(long, value_name = "HOST")]
    pub(super) allow_host: Vec<AllowedHost>,

    /// Expect a PROXY header, version 1 or 2, on connections from this network, such as 10.0.0.0/8
    /// (repeatable)
    #[arg(long, value_name = "NETWORK")]
    pub(super) proxy_protocol_from: Vec<Network>,

    /// Trust X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto and Forwarded in requests from
    /// this network, such as 10.0.0.0/8, or with the value unix from Unix sockets (repeatable)
    #[arg(long, value_name = "NETWORK")]
    pub(super) forwarded_from: Vec<TrustedProxy>,

    /// Connect to upstreams through this proxy: http://[USER:PASSWORD@]HOST[:PORT] (CONNECT),
    /// socks5h://... or socks5://... (this server resolves host names). Loopback addresses are
    /// always connected to directly [default: from the environment: https_proxy for wss and tls,
    /// http_proxy for ws, all_proxy for all]
    #[arg(long, value_name = "URL")]
    pub(super) proxy: Option<Proxy>,

    /// Connect to these hosts directly: host names, which include their subdomains, addresses,
    /// networks (10.0.0.0/8), or * for all, separated by commas [default: no_proxy from the
    /// environment]
    #[arg(long, value_name = "LIST")]
    pub(super) no_proxy: Option<NoProxy>,

    /// Record connections into files in this directory: all connections, or, if listeners, routes
    /// or forwards have the option record, only theirs. record covers the client's side,
    /// record=both the upstream's side as well. The files contain everything that is transferred,
    /// including passwords
    #[arg(long, value_name = "DIR")]
    pub(super) record: Option<PathBuf>,

    /// Format of recordings: pcapng (packets, for Wireshark), jsonl (one event per line) or har
    /// (WebSocket messages, for browsers) [default: pcapng]
    #[arg(long, value_name = "FORMAT")]
    pub(super) record_format: Option<Format>,

    /// Begin a new recording file at this size, in bytes or with K, M or G [default: 64M, or a
    /// quarter of --record-limit if that is less]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) record_rotate_size: Option<u64>,

    /// Begin a new recording file after this time [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) record_rotate_time: Option<Duration>,

    /// Maximum disk space of all recordings in the directory, in bytes or with K, M or G, at least
    /// 128K. The oldest recordings are removed [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) record_limit: Option<u64>,

    /// Time limit for ending all connections after SIGTERM or SIGINT, such as 10s or 500ms
    /// [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) drain: Option<Duration>,

    /// Time after SIGTERM or SIGINT for which connections are still accepted, while /readyz answers
    /// 503, so that load balancers stop sending clients here; counts towards --drain [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) drain_delay: Option<Duration>,

    /// Status code of the Close frame that WebSocket clients receive at shutdown: 1001 (going
    /// away), or 1012 (service restart), which tells clients to reconnect [default: 1001]
    #[arg(long, value_name = "CODE", value_parser = parse_drain_code)]
    pub(super) drain_code: Option<CloseCode>,

    /// Take over the listening sockets of the server that answers on this Unix socket, so that an
    /// upgrade refuses no client; that server then ends its connections as on SIGTERM. This server
    /// listens there for the next one. Only processes of the same user and root may connect
    #[arg(long, value_name = "PATH")]
    pub(super) handover: Option<HandoverPath>,

    /// Join other replicas over a NATS broker: nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT], or
    /// tls://; several servers of one broker are separated by commas. Options: ?name=NAME, replicas
    /// with the same name form a cluster [default: default]; ?ca=FILE, the CA certificates of a tls
    /// broker. Every client of the broker can act as an operator
    #[arg(long, value_name = "URL")]
    pub(super) cluster: Option<ClusterUrl>,

    /// Largest WebSocket message to accept, in bytes or with K, M or G (powers of 1024) [default:
    /// 16M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) max_message: Option<u64>,

    /// Maximum number of simultaneous connections, TCP and WebSocket together. A WebSocket
    /// connection and its connection to a listener of this server count once [default: 20000]
    #[arg(long, value_name = "N", value_parser = parse_count::<u32>)]
    pub(super) max_connections: Option<u32>,

    /// Maximum number of simultaneous connections from one IPv4 address or IPv6 /64 network; as
    /// many HTTP connections are allowed in addition [default: 1000; unlimited from loopback]
    #[arg(long, value_name = "N", value_parser = parse_count::<u32>)]
    pub(super) max_per_address: Option<u32>,

    /// Disable /api/connections, /api/events and /api/endpoints, which show the address, label and
    /// traffic of every client and the targets of the routes to anyone who can reach the HTTP port
    #[arg(long)]
    pub(super) no_api: bool,

    /// Disable taps (/api/connections/ID/tap, echogate tap), with which users of this machine and
    /// the operators observe the traffic of a connection
    #[arg(long)]
    pub(super) no_tap: bool,

    /// Disable /api/drain and /api/connections/ID/close, with which users of this machine and the
    /// operators shut down the server or close a connection
    #[arg(long)]
    pub(super) no_control: bool,

    /// Time limit for the head of an HTTP request, a TLS handshake or a PROXY header [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) header_timeout: Option<Duration>,

    /// Reset an HTTP connection whose client accepts no byte of a response for this long [default:
    /// 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) write_timeout: Option<Duration>,

    /// Close an HTTP connection that is idle between requests for this long [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) keep_alive_timeout: Option<Duration>,

    /// Time limit for connecting to an upstream, including name resolution and TLS [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) dial_timeout: Option<Duration>,

    /// Close a connection on which no data has passed for this long; 0s disables the limit
    /// [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) idle_timeout: Option<Duration>,

    /// Send a WebSocket Ping to a client that has been silent for this long [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) ping_interval: Option<Duration>,

    /// Close a WebSocket connection whose client stays silent for this long after a Ping [default:
    /// 20s]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(super) ping_timeout: Option<Duration>,
}

/// The flags of a [`ConfigLayer`], and the arguments collected for them from another source.
pub(super) struct Arguments {
    command: Command,
    arguments: Vec<OsString>,
}

impl Arguments {
    pub(super) fn new() -> Arguments {
        let command = Command::new("settings").no_binary_name(true).disable_help_flag(true);
        Arguments { command: ConfigLayer::augment_args(command), arguments: Vec::new() }
    }

    /// All flags.
    pub(super) fn flags(&self) -> impl Iterator<Item = &Arg> {
        self.command.get_arguments()
    }

    /// Adds a value of a flag: of a list one element, of a switch `true` or `false`.
    ///
    /// # Errors
    ///
    /// A description of what is wrong with the value.
    pub(super) fn add(&mut self, flag: &Arg, value: &OsStr) -> Result<(), String> {
        let name = flag.get_long().expect("every setting has a long flag");
        let text = without_secrets(&escape(&value.to_string_lossy()));
        let mut argument = OsString::from(format!("--{name}"));
        if matches!(flag.get_action(), ArgAction::SetTrue) {
            match value.to_str() {
                Some("true") => {}
                Some("false") => return Ok(()),
                _ => return Err(format!("\"{text}\": expected true or false")),
            }
        } else {
            argument.push("=");
            argument.push(value);
        }
        // Each value is parsed alone, so that an error belongs to it.
        self.command.clone().try_get_matches_from([&argument]).map_err(|e| {
            let why = e.source().map_or_else(|| e.kind().to_string(), ToString::to_string);
            format!("invalid value \"{text}\": {why}")
        })?;
        self.arguments.push(argument);
        Ok(())
    }

    /// The layer of all added values.
    pub(super) fn parse(self) -> Result<ConfigLayer, String> {
        let matches = self.command.try_get_matches_from(self.arguments);
        let layer = matches.and_then(|matches| ConfigLayer::from_arg_matches(&matches));
        layer.map_err(|e| e.to_string())
    }
}
