//! A connection through a SOCKS5 proxy (RFC 1928), with the authentication of RFC 1929 or none.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
};

use echogate_proto::{
    endpoint::{Credentials, HostPort},
    reason::{self, fill},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::ProxyFailure;
use crate::net::resolve;

/// The version of the protocol, and that of its authentication by user name and password.
const VERSION: u8 = 5;
const AUTHENTICATION_VERSION: u8 = 1;

/// The authentication methods.
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// The command and the types of addresses.
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The longest host name in a request, in bytes.
const MAX_NAME: usize = 255;

/// The destination of a connection, as a request names it.
pub(super) enum Address<'a> {
    Ip(SocketAddr),
    /// A host name of at most [`MAX_NAME`] bytes, which the proxy resolves, and the port.
    Name(&'a str, u16),
}

impl Address<'_> {
    /// The destination as it is named, without resolution.
    ///
    /// # Errors
    ///
    /// The name is longer than a request can carry, and than any name in the DNS.
    pub(super) fn of(at: &HostPort) -> Result<Address<'_>, ProxyFailure> {
        let host = at.without_zone();
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(Address::Ip((ip, at.port).into())),
            Err(_) if host.len() > MAX_NAME => {
                Err(ProxyFailure::Refused(reason::HOST_WITHOUT_ADDRESS.to_owned()))
            }
            Err(_) => Ok(Address::Name(host, at.port)),
        }
    }

    /// The destination in a request (RFC 1928 section 4): type, address or name, port.
    fn encode(&self) -> Vec<u8> {
        let (mut bytes, port) = match self {
            Address::Ip(SocketAddr::V4(at)) => {
                ([&[IPV4][..], &at.ip().octets()].concat(), at.port())
            }
            Address::Ip(SocketAddr::V6(at)) => {
                ([&[IPV6][..], &at.ip().octets()].concat(), at.port())
            }
            Address::Name(name, port) => ([&[NAME, len(name)], name.as_bytes()].concat(), *port),
        };
        bytes.extend(port.to_be_bytes());
        bytes
    }
}

/// The length of a text that is known to have at most 255 bytes.
fn len(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap_or(u8::MAX)
}

/// Resolves a host on this side.
pub(super) async fn resolve(at: &HostPort) -> Result<Vec<SocketAddr>, ProxyFailure> {
    let resolved = resolve::addresses(at).await;
    resolved.map_err(|error| ProxyFailure::Refused(error.of_host(&at.host).to_string()))
}

/// Asks the proxy at the other end of `stream` to connect to a destination, after [`authenticate`]. No
/// byte after the reply is read from the stream, because a server that speaks first may have sent it.
pub(super) async fn connect(
    mut stream: TcpStream,
    to: &Address<'_>,
) -> Result<TcpStream, ProxyFailure> {
    let request = [&[VERSION, CONNECT, 0][..], &to.encode()].concat();
    stream.write_all(&request).await?;
    let [version, reply, _, kind] = read(&mut stream).await?;
    if version != VERSION {
        return Err(not_socks());
    }
    if reply != 0 {
        return Err(ProxyFailure::Refused(meaning(reply)));
    }
    // The address from which the proxy connects (BND.ADDR and BND.PORT) is not used.
    match kind {
        IPV4 => drop(read::<{ 4 + 2 }>(&mut stream).await?),
        IPV6 => drop(read::<{ 16 + 2 }>(&mut stream).await?),
        NAME => {
            let [len] = read(&mut stream).await?;
            stream.read_exact(&mut vec![0; usize::from(len) + 2]).await?;
        }
        _ => return Err(not_socks()),
    }
    Ok(stream)
}

/// Agrees on an authentication method with the proxy at the other end of `stream`, and performs it.
pub(super) async fn authenticate(
    mut stream: TcpStream,
    credentials: Option<&Credentials>,
) -> Result<TcpStream, ProxyFailure> {
    let refused = |reason: &str| Err(ProxyFailure::Refused(reason.to_owned()));
    let offer: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(offer).await?;
    let [version, method] = read(&mut stream).await?;
    if version != VERSION {
        return Err(not_socks());
    }
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => Ok(stream),
        (USER_AND_PASSWORD, Some(Credentials { user, password })) => {
            let request = [
                &[AUTHENTICATION_VERSION, len(user)],
                user.as_bytes(),
                &[len(password)],
                password.as_bytes(),
            ];
            stream.write_all(&request.concat()).await?;
            let [_, status] = read(&mut stream).await?;
            if status == 0 { Ok(stream) } else { refused(reason::PROXY_WRONG_PASSWORD) }
        }
        (NO_ACCEPTABLE_METHOD, None) => refused(reason::PROXY_NO_PASSWORD),
        (NO_ACCEPTABLE_METHOD, Some(_)) => refused(reason::PROXY_TAKES_NO_PASSWORD),
        _ => Err(not_socks()),
    }
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], ProxyFailure> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn not_socks() -> ProxyFailure {
    ProxyFailure::Refused(reason::PROXY_NOT_SOCKS.to_owned())
}

/// The meaning of a reply (RFC 1928 section 6).
fn meaning(reply: u8) -> String {
    let meaning = match reply {
        1 => reason::SOCKS_FAILURE,
        2 => reason::SOCKS_RULES,
        3 => reason::SOCKS_NETWORK,
        4 => reason::SOCKS_HOST,
        5 => reason::SOCKS_REFUSED,
        6 => reason::SOCKS_TTL,
        7 => reason::SOCKS_NO_CONNECT,
        8 => reason::SOCKS_ADDRESS_TYPE,
        _ => reason::SOCKS_UNKNOWN,
    };
    fill(reason::SOCKS_REPLY, &[&meaning as &dyn Display, &reply])
}
