//! The library behind the `echogate` binary. `ARCHITECTURE.md`, beside `src`, has the data paths
//! and the lexicon. Modules, each of which uses only those below it:
//!
//! ```text
//! cli                      command line, help, log, signals
//! client  console  server  the native client; an operator's terminal; accept, reload, shutdown
//! http                     the page, the API, HTTP connections
//! gateway                  routes: handshake, dial, and the relay between client and upstream
//! context                  what all connections share
//! cluster                  replicas that know each other over a broker
//! config                   settings: command line, environment, file
//! service                  the built-in services
//! net                      sockets, TLS, PROXY protocol, name resolution
//! recorder                 the thread that writes recordings
//! connections              registry, limits, counters
//! recording                the events of a connection, and the files of recordings
//! trace                    trace context of requests, spans
//! runtime  terminal  text  drain, timers, buffers; prompt and screen; escaping, error texts
//! ```

mod cli;
mod client;
mod cluster;
mod config;
mod connections;
mod console;
mod context;
mod gateway;
mod http;
mod net;
mod recorder;
mod recording;
mod runtime;
mod server;
mod service;
mod terminal;
mod text;
mod trace;

pub use cli::main;

/// Internals that benchmarks measure and fuzz targets call. Not an interface for anyone else.
#[doc(hidden)]
pub mod internals {
    use std::{io, path::Path};

    use futures_util::FutureExt as _;

    use crate::net::proxy_protocol::{Version, read_header};

    /// Checks the settings of a file that need neither the environment nor other files.
    ///
    /// # Errors
    ///
    /// One line that names the line of the file and what is wrong there.
    pub fn check_file(path: &Path, text: &str) -> Result<(), String> {
        crate::config::check_file(path, text)
    }

    /// The PROXY header that `bytes` begin with, written anew in versions 1 and 2, and its length.
    ///
    /// # Errors
    ///
    /// When the bytes are no header, or only a part of one.
    pub fn proxy_header(bytes: &[u8]) -> io::Result<([Vec<u8>; 2], usize)> {
        let mut rest = bytes;
        let addresses = read_header(&mut rest).now_or_never().expect("a slice is always ready")?;
        let written = [Version::V1, Version::V2].map(|version| version.header(addresses));
        Ok((written, bytes.len() - rest.len()))
    }

    /// The number of connections of a recording in any format.
    ///
    /// # Errors
    ///
    /// One line with the offset of the damage.
    pub fn read_recording(bytes: &[u8]) -> Result<usize, String> {
        let recording = crate::recording::read::read(bytes).map_err(|error| error.to_string())?;
        Ok(recording.connections.len())
    }

    /// The answer of the service `upper` to a datagram of `bytes`, in their place.
    pub fn upper(bytes: &mut [u8]) {
        crate::service::backend::ServiceInstance::Upper.answer(bytes, bytes.len());
    }
}
