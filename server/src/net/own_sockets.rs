//! The addresses of this server's datagram sockets, by which datagrams that one of them sends to another
//! are recognised.

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
};

use super::{canonical, datagram_socket::DatagramSocket};

/// The addresses of the datagram sockets of this server.
#[derive(Debug, Default)]
pub(crate) struct OwnSockets {
    udp: Vec<SocketAddr>,
    unix: Vec<PathBuf>,
}

impl<'a> FromIterator<&'a DatagramSocket> for OwnSockets {
    fn from_iter<I: IntoIterator<Item = &'a DatagramSocket>>(sockets: I) -> OwnSockets {
        let mut own = OwnSockets::default();
        for socket in sockets {
            match socket {
                DatagramSocket::Udp(socket) => own.udp.extend(socket.local_addr().ok()),
                DatagramSocket::UnixGram(socket, ..) => {
                    let address = socket.local_addr().ok();
                    own.unix.extend(address.and_then(|at| at.as_pathname().map(Path::to_owned)));
                }
            }
        }
        own
    }
}

impl OwnSockets {
    /// Whether a Unix datagram from the socket at `path` comes from one of the sockets.
    pub(crate) fn has_path(&self, path: &Path) -> bool {
        self.unix.iter().any(|own| own == path)
    }

    /// Whether a UDP datagram from `source` comes from one of the sockets.
    pub(crate) fn has_address(&self, source: SocketAddr) -> bool {
        self.has(source, is_of_this_machine)
    }

    fn has(&self, source: SocketAddr, is_local: impl Fn(SocketAddr) -> bool) -> bool {
        self.udp.iter().filter(|own| own.port() == source.port()).any(|own| {
            // A socket that is bound to all addresses sends from any of this machine.
            let is_any = own.ip().is_unspecified() || own.ip().is_multicast();
            canonical(*own).ip() == canonical(source).ip() || is_any && is_local(source)
        })
    }
}

/// Whether an address belongs to this machine: a socket can be bound to it.
fn is_of_this_machine(mut address: SocketAddr) -> bool {
    address.set_ip(address.ip().to_canonical());
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_of_this_server_is_known_by_whatever_address_it_sends_from() {
        let has = |own: &str, source: &str| {
            let own = OwnSockets { udp: vec![address("127.0.0.1:1"), address(own)], unix: vec![] };
            own.has(address(source), |at| {
                at.ip().is_loopback() || at.ip() == address("192.0.2.1:0").ip()
            })
        };
        assert!(has("127.0.0.1:7007", "127.0.0.1:7007"));
        assert!(has("127.0.0.1:7007", "[::ffff:127.0.0.1]:7007"));
        assert!(has("0.0.0.0:7007", "127.0.0.2:7007"));
        assert!(has("0.0.0.0:7007", "192.0.2.1:7007"));
        assert!(has("[::]:7007", "192.0.2.1:7007"));
        assert!(!has("0.0.0.0:7007", "192.0.2.2:7007"), "another machine");
        assert!(!has("0.0.0.0:7007", "127.0.0.1:7008"));
        assert!(!has("127.0.0.1:7007", "127.0.0.2:7007"));
        assert!(is_of_this_machine(address("127.0.0.1:7")));
        assert!(!is_of_this_machine(address("192.0.2.77:7")));
    }
}
