//! Errors of endpoint URLs.

use thiserror::Error;

use super::MAX_UNIX_PATH;

/// The reason why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// `SCHEME:` is missing.
    #[error("no scheme: expected a URL such as tcp://127.0.0.1:7007")]
    NoScheme,
    /// The scheme is not supported.
    #[error("unknown scheme \"{0}\": expected tcp, tls, udp, unix, unixgram, ws, wss or service")]
    UnknownScheme(String),
    /// The `//` after the scheme is missing.
    #[error("expected \"//\" after \"{0}:\"")]
    NoSlashes(&'static str),
    /// The host is missing.
    #[error("no host")]
    NoHost,
    /// The port is missing where the scheme has no default.
    #[error("no port: expected HOST:PORT")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("bad port \"{0}\": expected a number from 0 to 65535")]
    BadPort(String),
    /// A bracket is not closed, or an IPv6 address has no brackets.
    #[error("bad host \"{0}\": an IPv6 address needs brackets, as in [::1]")]
    BadHost(String),
    /// A path follows the port where the scheme has none.
    #[error("unexpected \"{0}\" after the port: a {1}:// URL has no path")]
    StrayPath(String, &'static str),
    /// The absolute path of `unix:` or `unixgram:` is missing.
    #[error("expected an absolute path, as in unix:///run/echogate.sock")]
    NoPath,
    /// The name of `service:` is missing.
    #[error("no service name: expected a URL such as service:upper")]
    NoService,
    /// An option has no name.
    #[error("bad option \"{0}\": expected KEY=VALUE or KEY")]
    BadOption(String),
    /// The path is longer than a socket address can hold.
    #[error("the path of the Unix socket has {0} bytes: at most {MAX_UNIX_PATH} are possible")]
    LongPath(usize),
    /// The URL contains white space or control characters.
    #[error("white space or a control character in the URL")]
    BadCharacter,
    /// A `%` is not followed by two hexadecimal digits, or the byte is not allowed there.
    #[error("bad percent-encoding in \"{0}\": expected % and two hexadecimal digits (%25 for %)")]
    BadEscape(String),
    /// The user name or the password is not percent-encoded. The error quotes neither.
    #[error(
        "bad user name or password: expected percent-encoding (%25 for %, %2F for /, %3F for ?)"
    )]
    BadCredentials,
    /// The value of an option, which may be a secret, is not percent-encoded.
    #[error(
        "bad percent-encoding in the option {0}: expected % and two hexadecimal digits (%25 for %)"
    )]
    BadOptionValue(String),
    /// The host is neither an address nor a domain name.
    #[error("bad host \"{0}\": not a domain name")]
    BadName(String),
    /// Credentials are given with a scheme that has no use for them.
    #[error("{0}://USER@HOST: a user name is possible with ws:// and wss:// only")]
    StrayUser(&'static str),
    /// A WebSocket URL contains `#` (RFC 6455 section 3).
    #[error("a WebSocket URL has no fragment: encode # as %23")]
    Fragment,
}
