//! The library behind the `echogate` binary. `ARCHITECTURE.md`, beside `src`, has the data paths
//! and the lexicon. Modules, each of which uses only those below it:
//!
//! ```text
//! cli                      command line, help, log, signals
//! client  console  server  the native client; an operator's terminal; accept, reload, shutdown
//! http                     the page, the API, HTTP connections
//! gateway                  routes: handshake, dial, and the relay between client and upstream
//! context                  what all connections share
//! config                   settings: command line, environment, file
//! service                  the built-in services
//! net                      sockets, TLS, PROXY protocol, name resolution
//! connections              registry, limits, counters
//! runtime  terminal  text  drain, timers, buffers; prompt and screen; escaping, error texts
//! ```

mod cli;
mod client;
mod config;
mod connections;
mod console;
mod context;
mod gateway;
mod http;
mod net;
mod runtime;
mod server;
mod service;
mod terminal;
mod text;

pub use cli::main;

/// Internals that benchmarks measure. Not an interface for anyone else.
#[doc(hidden)]
pub mod internals {
    /// The answer of the service `upper` to a datagram of `bytes`, in their place.
    pub fn upper(bytes: &mut [u8]) {
        crate::service::backend::ServiceInstance::Upper.answer(bytes, bytes.len());
    }
}
