//! Sockets of every family, TLS, and what tells the address of a client.
//!
//! - [`listener`], [`datagram_socket`]: bound sockets of every family; `packet_info`: the local
//!   address of a datagram; [`socket_file`]: the files of Unix sockets
//! - [`stream`]: the streams that connections come on and upstreams are reached by; [`tls`]
//! - [`resolve`]: host names to addresses; [`happy_eyeballs`]: a TCP connection to one of a
//!   host's addresses
//! - [`hairpin`]: connections of bridges to this server's own listeners
//! - [`proxy`]: the PROXY protocol, and the headers by which HTTP proxies name their clients
//! - [`authority`]: hosts and ports as `Host` and `Origin` write them

pub(crate) mod authority;
pub(crate) mod datagram_socket;
pub(crate) mod hairpin;
pub(crate) mod happy_eyeballs;
pub(crate) mod listener;
mod packet_info;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod socket_file;
pub(crate) mod stream;
pub(crate) mod tls;
