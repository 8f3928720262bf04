//! TCP servers that a test controls, and one that does not answer.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use socket2::{Domain, Socket, Type};

use crate::tcp::set_timeouts;

/// A listener on a free port of 127.0.0.1 that accepts only on request.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Binds the listener.
    #[expect(clippy::new_without_default, reason = "it binds a port")]
    pub fn new() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Upstream { listener }
    }

    /// A value for `--route`: `PATH=tcp://HOST:PORT?framing=FRAMING`.
    pub fn route(&self, path: &str, framing: &str) -> String {
        format!("{path}=tcp://{}?framing={framing}", self.address())
    }

    /// The listener's `HOST:PORT`.
    pub fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// Accepts the next connection, without a timeout: the client must be certain to connect.
    pub fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("a connection");
        set_timeouts(&stream);
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

/// A listener whose backlog is full: a connection to it is neither accepted nor refused.
#[derive(Debug)]
pub struct Unresponsive {
    listener: Socket,
    _queued: Vec<Socket>,
}

impl Unresponsive {
    /// Binds the listener to a free port of 127.0.0.1.
    #[expect(clippy::new_without_default, reason = "it binds a port")]
    pub fn new() -> Unresponsive {
        Unresponsive::bind(([127, 0, 0, 1], 0).into()).expect("a free port")
    }

    /// Binds the listener to an IPv4 address and fills its backlog.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Unresponsive> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&address.into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?;
        let mut queued = Vec::new();
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            client.set_nonblocking(true)?;
            client.connect(&address).ok();
            queued.push(client);
        }
        Ok(Unresponsive { listener, _queued: queued })
    }

    /// The listener's `HOST:PORT`.
    pub fn address(&self) -> String {
        let address = self.listener.local_addr().expect("it is bound");
        address.as_socket().expect("an IPv4 address").to_string()
    }
}
