//! The command line of `echogate listen`.

use std::path::PathBuf;

use echogate_proto::endpoint::{Address, Endpoint};

use super::{
    listener::{ListenerSettings, listen_address},
    websocket::Rules,
};
use crate::{
    client::{
        modes::Mode,
        pending_replies::Wait,
        server_tls,
        session_args::{SessionArgs, SessionPlan},
        target::traffic_of,
        target_endpoint::{TargetEndpoint, parse_port},
        transport::TransportOptions,
    },
    config::AllowedOrigin,
    recording::model::Traffic,
};

/// The command line of `echogate listen`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct ListenArgs {
    /// The endpoint to listen on: [HOST:]PORT for TCP, tcp://HOST:PORT, tls://HOST:PORT,
    /// unix:///PATH, ws://HOST:PORT[/PATH], wss://HOST:PORT[/PATH], udp://HOST:PORT or
    /// unixgram:///PATH. Without a host, only this machine can connect; 0.0.0.0:PORT accepts other
    /// machines. Port 0 selects a free port
    #[arg(value_name = "[HOST:]PORT|URL")]
    endpoint: TargetEndpoint,

    /// The port, if the first argument is a host
    #[arg(value_name = "PORT", value_parser = parse_port)]
    port: Option<u16>,

    /// Serve one client after the other, not only the first one
    #[arg(long, short = 'k')]
    pub(super) keep_open: bool,

    /// The certificate (tls, wss): a PEM file, with its intermediate certificates
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The private key of the certificate: a PEM file [default: in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Accept web pages of this origin, such as http://localhost:3000 (ws, wss; repeatable)
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<AllowedOrigin>,

    #[command(flatten)]
    pub(super) session: SessionArgs,

    /// After the end of the input, close when the client has been silent for TIME [default: when
    /// the client ends its side]
    #[arg(long, value_name = "TIME", help_heading = "End of the session")]
    wait: Option<Wait>,
}

const EXAMPLES: &str = "\
Examples:
  echogate listen 9000                     a prompt for the first client
  echogate listen 0.0.0.0:9000 >photo.jpg  receive a file; the sender runs
                                           echogate connect HOST 9000 <photo.jpg
  echogate listen -k ws://127.0.0.1:9000   WebSocket clients, one after the other";

const LONG_EXAMPLES: &str = "\
On a terminal, listen is a prompt, as connect is. In a pipe the standard input is sent to the client, \
and the client's bytes are written to the standard output; over WebSocket each line is a text message \
(--binary sends the bytes unchanged). At the end of the input, listen half-closes TCP, TLS and Unix \
sockets, and WebSockets whose client has offered the subprotocol half-close, and reads until the \
client ends its side; an input without a byte ends when the client does. Then listen exits, or waits \
for the next client (--keep-open).

The first client is the first one that completes the TLS and the WebSocket handshake, or the first \
sender of a datagram. Others are not accepted. A WebSocket client may ask for any path if the URL has \
none. Web pages of other origins than the listener's own are refused without --allow-origin.

A transfer that is cut, because a process is killed or the connection is reset, fails at both ends \
with status 1. Unix sockets have no reset: there a cut looks like a regular end.

Examples:
  echogate listen 9000
      A prompt for the first client.
  echogate listen 0.0.0.0:9000 >photo.jpg
      Receives a file. The sender runs: echogate connect HOST 9000 <photo.jpg
  echogate listen 0.0.0.0:9000 <photo.jpg
      Sends a file. The receiver runs: echogate connect HOST 9000 >photo.jpg
  echogate listen --keep-open ws://127.0.0.1:9000
      WebSocket clients, one after the other.
  echogate listen --binary wss://0.0.0.0:9000 --cert cert.pem --key key.pem >photo.jpg
      A file over TLS. The sender runs:
      echogate connect --half-close --binary wss://HOST:9000 <photo.jpg
  echogate listen udp://0.0.0.0:9000
      Datagrams of the first sender.

Exit status: 0 success; 1 failure (a connection that was cut, an input that could not be sent \
completely, or an output that could not be written); 2 invalid usage.";

impl ListenArgs {
    /// The endpoint to listen on.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        let endpoint = self.endpoint.with_port(self.port)?;
        if let Address::Ws(at, _) | Address::Wss(at, _) = &endpoint.address
            && at.host.bytes().all(|byte| byte.is_ascii_digit())
        {
            let (scheme, port) = (endpoint.address.scheme(), &at.host);
            return Err(format!("{port} is no host: expected a URL such as {scheme}://:{port}"));
        }
        Ok(endpoint)
    }

    /// The validated settings of the listener at `endpoint`.
    pub(super) fn settings(&self, endpoint: &Endpoint) -> Result<ListenerSettings, String> {
        let Endpoint { address, options, credentials } = endpoint;
        if let Some((key, _)) = options.first() {
            return Err(format!("unknown option \"{key}\": a URL to listen on has no options"));
        }
        if credentials.is_some() {
            return Err("a URL to listen on has no user name: only clients send one".to_owned());
        }
        let tls = server_tls::read(self.cert.as_deref(), self.key.as_deref(), address)?;
        let (at, path) = listen_address(address)?;
        let traffic = traffic_of(address);
        let rules = path.map(|path| Rules {
            path,
            allowed_origins: self.allow_origin.clone(),
            binary: self.session.binary,
            protocol: None,
        });
        self.session.check(traffic)?;
        if !self.allow_origin.is_empty() && rules.is_none() {
            return Err("--allow-origin is valid with ws:// and wss:// only".to_owned());
        }
        if self.keep_open && traffic == Traffic::Datagrams {
            return Err(
                "--keep-open requires connections, which datagram sockets do not have".to_owned()
            );
        }
        let options = TransportOptions {
            silence: self.wait().silence(),
            crlf: self.session.crlf,
            verbose: self.session.verbose,
            reset_when_cut: true,
            recorder: None,
        };
        Ok(ListenerSettings { address: address.clone(), at, tls, rules, options })
    }

    fn wait(&self) -> Wait {
        self.wait.unwrap_or(Wait::UntilPeerEnds)
    }

    /// The mode that the options and the standard streams select.
    pub(super) fn mode(&self, address: &Address) -> Mode {
        self.session.mode(SessionPlan {
            traffic: traffic_of(address),
            url: address.to_string(),
            timer: None,
            count: None,
            once: false,
            reconnect: false,
            timing: false,
            wait: self.wait(),
            command_handles_signals: false,
        })
    }
}
