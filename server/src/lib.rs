//! The library behind the `echogate` binary. How a byte travels:
//!
//! ```text
//! TCP client   listener -> connection -> service
//! browser      listener -> http -> http::upgrade -> dial -> bridge -> (the same listener ...)
//! ```
//!
//! In reading order:
//!
//! - [`cli`]: the command line, and what it runs; `help`: what it tells of itself;
//!   `nearest`: what a word may have been meant to be; `process`: what it needs of the system
//! - [`config`]: what the server is told, and by what; [`check`]: what that means
//! - [`serve`]: the server: bound, announced, run, by other settings if need be;
//!   `generation`: what holds under some settings; [`shared`]: what its connections share,
//!   and how they end
//! - `sockets`: those that the settings name; `bind`: how they are bound; [`inherit`]:
//!   sockets that were bound for us
//! - `listener`: accepting connections; `door`: how they come in; `datagram`: answering
//!   datagrams
//! - [`connection`]: one connection to a built-in service, [`service`]; [`chat`]: where
//!   clients and operators meet
//! - `http`: the page, the API, and the handshake of WebSocket routes
//! - [`page`]: the page's files
//! - [`dial`]: reaching a route's upstream
//! - [`proxy`]: the PROXY protocol, and the headers by which HTTP proxies name their clients
//! - [`authority`]: hosts and ports as `Host` and `Origin` write them
//! - [`bridge`]: WebSocket on one side, an upstream on the other
//! - [`client`]: `echogate connect` and `echogate bench`, the native client
//! - [`registry`]: who is connected now
//! - `net`: host names, and connections to hosts, for gateway and client
//! - [`counters`]: what was refused or lost, by reason
//! - [`limits`]: how many connections there may be; [`hairpin`]: those of bridges to
//!   listeners here
//! - [`drain`]: the end of serving and alarms, as connections see them; `idle`: the end of
//!   a connection that carries nothing
//! - [`event_loop`]: the threads that carry connections once they are set up, and their
//!   sockets
//! - [`stream`], [`tls`], [`memory`], `scratch`, `backlog`: what bytes travel on and wait in;
//!   `unacknowledged`: what of them a peer's kernel has not acknowledged
//! - `terminal`: a prompt, and what comes above it; `escape`: what came from elsewhere,
//!   made fit for it and for one line

pub mod authority;
pub mod bridge;
pub mod chat;
pub mod check;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod counters;
pub mod dial;
pub mod drain;
pub mod event_loop;
pub mod hairpin;
pub mod inherit;
pub mod limits;
pub mod memory;
pub mod page;
pub mod proxy;
pub mod registry;
pub mod serve;
pub mod service;
pub mod shared;
pub mod stream;
pub mod tls;

mod backlog;
mod bind;
mod datagram;
mod door;
mod escape;
mod generation;
mod help;
mod http;
mod idle;
mod listener;
mod nearest;
mod net;
mod process;
mod scratch;
mod sockets;
mod terminal;
mod unacknowledged;

pub use cli::main;

/// Functions that `tests/fuzz` and `tests/benches` call; not a part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::{
        config::check_file,
        proxy::{Ends, Version, read_header},
        service::Backend,
    };
}

/// Connections that are made and ended take a tenth less CPU time with it than with the C
/// library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
