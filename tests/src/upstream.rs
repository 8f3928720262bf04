//! A TCP server that a test controls.

use std::{
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use crate::server::WAIT_TIMEOUT;

/// A listener on a free port of 127.0.0.1 that accepts only on request.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Binds the listener.
    ///
    /// # Panics
    ///
    /// When the machine has no free port.
    #[expect(clippy::new_without_default, reason = "it binds a port")]
    pub fn new() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Upstream { listener }
    }

    /// A value for `--route`: `PATH=tcp://HOST:PORT?framing=FRAMING`.
    ///
    /// # Panics
    ///
    /// When the socket is broken.
    pub fn route(&self, path: &str, framing: &str) -> String {
        format!("{path}=tcp://{}?framing={framing}", self.address())
    }

    /// The listener's `HOST:PORT`.
    ///
    /// # Panics
    ///
    /// When the socket is broken.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// Accepts the next connection, without a timeout: the client must be certain to connect.
    ///
    /// # Panics
    ///
    /// When accepting fails.
    pub fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a timeout that is not 0");
        stream.set_write_timeout(Some(WAIT_TIMEOUT)).expect("a timeout that is not 0");
        stream
    }

    /// Serves one connection with `script` in a thread, which returns the script's result.
    pub fn serve<T: Send + 'static>(
        self,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        thread::spawn(move || script(self.accept()))
    }
}
