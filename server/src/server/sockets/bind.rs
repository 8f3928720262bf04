//! Binding of sockets.

use std::{
    fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt,
    },
    path::Path,
    sync::Arc,
};

use echogate_proto::{api::Kind, endpoint::HostPort};
use nix::sys::stat::{Mode, umask};
use socket2::SockRef;
use tokio::net::{TcpSocket, UdpSocket, UnixDatagram, UnixSocket};

use crate::{
    config::{ListenAddr, SocketPath},
    net::{datagram_socket::DatagramSocket, listener::Listener, resolve, socket_file::SocketFile},
};

/// A bound socket. Clones are the same socket.
#[derive(Clone, Debug)]
pub(crate) enum Socket {
    Stream(Arc<Listener>),
    Datagram(Arc<DatagramSocket>),
}

impl From<Listener> for Socket {
    fn from(listener: Listener) -> Socket {
        Socket::Stream(listener.into())
    }
}

impl From<DatagramSocket> for Socket {
    fn from(socket: DatagramSocket) -> Socket {
        Socket::Datagram(socket.into())
    }
}

impl Socket {
    /// The transport, which is TLS if `tls` is set.
    pub(crate) fn kind(&self, tls: bool) -> Kind {
        match self {
            Socket::Stream(listener) => match **listener {
                Listener::Tcp(_) if tls => Kind::Tls,
                Listener::Tcp(_) => Kind::Tcp,
                Listener::Unix(..) => Kind::Unix,
            },
            Socket::Datagram(socket) => socket.kind(),
        }
    }

    /// The local address, or the path of a Unix socket.
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2).
    pub(crate) fn at(&self) -> io::Result<String> {
        let at = SockRef::from(self).local_addr()?;
        let path = || at.as_pathname().unwrap_or(Path::new("-")).display().to_string();
        Ok(at.as_socket().map_or_else(path, |address| address.to_string()))
    }

    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Socket::Stream(_) => SockRef::from(self).local_addr().ok()?.as_socket(),
            Socket::Datagram(_) => None,
        }
    }

    pub(crate) fn datagrams(&self) -> Option<&DatagramSocket> {
        match self {
            Socket::Datagram(socket) => Some(socket),
            Socket::Stream(_) => None,
        }
    }

    /// Sets the listen backlog.
    ///
    /// # Errors
    ///
    /// The errors of listen(2).
    pub(crate) fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        match self {
            Socket::Stream(_) => SockRef::from(self).listen(backlog),
            Socket::Datagram(_) => Ok(()),
        }
    }

    /// Sets the mode of a Unix socket's file.
    ///
    /// # Errors
    ///
    /// The errors of chmod(2).
    pub(crate) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        self.file().map_or(Ok(()), |file| file.set_mode(mode))
    }

    /// The file of a Unix socket, unless a service manager created it.
    pub(crate) fn file(&self) -> Option<&SocketFile> {
        match self {
            Socket::Stream(listener) => match &**listener {
                Listener::Unix(_, file) => file.as_ref(),
                Listener::Tcp(_) => None,
            },
            Socket::Datagram(socket) => match &**socket {
                DatagramSocket::UnixGram(_, file, _) => file.as_ref(),
                DatagramSocket::Udp(_) => None,
            },
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Stream(listener) => match &**listener {
                Listener::Tcp(listener) => listener.as_fd(),
                Listener::Unix(listener, _) => listener.as_fd(),
            },
            Socket::Datagram(socket) => match &**socket {
                DatagramSocket::Udp(socket) => socket.as_fd(),
                DatagramSocket::UnixGram(socket, ..) => socket.as_fd(),
            },
        }
    }
}

/// The address or path to which a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BindAddr {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(SocketPath),
    UnixGram(SocketPath),
}

impl BindAddr {
    /// The addresses of `at`: all addresses of a host name.
    ///
    /// # Errors
    ///
    /// The host name cannot be resolved.
    pub(crate) async fn all(at: &ListenAddr) -> io::Result<Vec<BindAddr>> {
        Ok(match at {
            ListenAddr::Tcp(at) | ListenAddr::Tls(at) => {
                addresses(at).await?.map(BindAddr::Tcp).collect()
            }
            ListenAddr::Udp(at) => addresses(at).await?.map(BindAddr::Udp).collect(),
            ListenAddr::Unix(at) => vec![BindAddr::Unix(at.clone())],
            ListenAddr::UnixGram(at) => vec![BindAddr::UnixGram(at.clone())],
        })
    }

    /// Whether the kernel chooses the port.
    pub(crate) fn is_any_port(&self) -> bool {
        matches!(self, BindAddr::Tcp(at) | BindAddr::Udp(at) if at.port() == 0)
    }

    /// Whether `socket`, which was bound to `other`, is bound to this address.
    pub(crate) fn is_bound_to(&self, other: &BindAddr, socket: &Socket) -> bool {
        match (self, other) {
            (BindAddr::Tcp(at), BindAddr::Tcp(before))
            | (BindAddr::Udp(at), BindAddr::Udp(before)) => {
                at == before || socket.at().is_ok_and(|bound| bound == at.to_string())
            }
            (BindAddr::Unix(at), BindAddr::Unix(before))
            | (BindAddr::UnixGram(at), BindAddr::UnixGram(before)) => at.path == before.path,
            _ => false,
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            BindAddr::Unix(at) | BindAddr::UnixGram(at) => Some(at.path.as_ref()),
            BindAddr::Tcp(_) | BindAddr::Udp(_) => None,
        }
    }

    /// The mode of the socket's file, if one is set.
    pub(crate) fn mode(&self) -> Option<u32> {
        match self {
            BindAddr::Unix(at) | BindAddr::UnixGram(at) => at.mode,
            BindAddr::Tcp(_) | BindAddr::Udp(_) => None,
        }
    }

    /// Binds a socket, and listens with the given backlog.
    ///
    /// # Errors
    ///
    /// The errors of bind(2) and listen(2).
    pub(crate) async fn bind(&self, backlog: u32) -> io::Result<Socket> {
        match self {
            BindAddr::Tcp(at) => tcp(*at, backlog).map(Socket::from),
            BindAddr::Udp(at) => Ok(DatagramSocket::udp(UdpSocket::bind(at).await?)?.into()),
            BindAddr::Unix(at) => bind_unix_path(at, || {
                let socket = UnixSocket::new_stream()?;
                socket.bind(&at.path)?;
                let listener = socket.listen(backlog)?;
                Ok(Listener::Unix(listener, Some(SocketFile::of(&at.path)?)).into())
            }),
            BindAddr::UnixGram(at) => bind_unix_path(at, || {
                let socket = UnixDatagram::bind(&at.path)?;
                Ok(DatagramSocket::unixgram(socket, Some(SocketFile::of(&at.path)?)).into())
            }),
        }
    }
}

async fn addresses(at: &HostPort) -> io::Result<impl Iterator<Item = SocketAddr>> {
    if at.host == "*" {
        return Err(io::Error::other("all addresses of this machine are written 0.0.0.0 or [::]"));
    }
    let addresses = resolve::addresses(at).await;
    addresses.map(Vec::into_iter).map_err(|error| error.of_host(&at.host))
}

fn tcp(at: SocketAddr, backlog: u32) -> io::Result<Listener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier run that linger in TIME_WAIT do not block the port.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(backlog).map(Listener::Tcp)
}

/// Binds a Unix socket. An existing socket file is replaced if no process listens on it.
fn bind_unix_path(
    at: &SocketPath,
    bind: impl FnOnce() -> io::Result<Socket>,
) -> io::Result<Socket> {
    let path: &Path = at.path.as_ref();
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("a file that is not a socket is in the way"));
        }
        // A refused connection shows that no process listens, whatever the type of the socket.
        Ok(_) => match probe(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        },
    }
    let Some(mode) = at.mode else { return bind() };
    // The umask gives the file its mode from the start.
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = bind();
    umask(before);
    bound
}

/// Connects to a socket file without waiting.
fn probe(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}
