//! A TCP server whose every move a test decides.

use std::{
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use crate::server::WAIT_TIMEOUT;

/// A listener on a free port of 127.0.0.1, with no will of its own.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Binds it.
    ///
    /// # Panics
    ///
    /// When the machine has no free port.
    #[expect(clippy::new_without_default, reason = "it binds a port")]
    pub fn new() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Upstream { listener }
    }

    /// `PATH=tcp://HOST:PORT?framing=FRAMING`: a value for `--route`.
    ///
    /// # Panics
    ///
    /// When the socket is broken.
    pub fn route(&self, path: &str, framing: &str) -> String {
        format!("{path}=tcp://{}?framing={framing}", self.address())
    }

    /// `HOST:PORT` where it listens.
    ///
    /// # Panics
    ///
    /// When the socket is broken.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// The next connection. (Accepting has no timeout: the client must have come, or
    /// be certain to.)
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

    /// Serves one connection with `script` in a thread; joining it tells the result.
    pub fn serve<T: Send + 'static>(
        self,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        thread::spawn(move || script(self.accept()))
    }
}
