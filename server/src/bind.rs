//! From settings to bound sockets.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use echogate_proto::{endpoint::HostPort, live::Kind};
use nix::sys::stat::{Mode, umask};
use tokio::net::{TcpSocket, UdpSocket, UnixDatagram, UnixSocket, lookup_host};

use crate::{
    config::{At, Bind, ListenerSpec, SocketPath},
    datagram::Datagrams,
    listener::Listener,
};

/// A bound socket of a service.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Connections come.
    Stream(Listener),
    /// Datagrams come.
    Datagram(Datagrams),
}

impl Socket {
    /// The transport, with TLS on it or not.
    pub(crate) fn kind(&self, tls: bool) -> Kind {
        match self {
            Socket::Stream(Listener::Tcp(_)) if tls => Kind::Tls,
            Socket::Stream(Listener::Tcp(_)) => Kind::Tcp,
            Socket::Stream(Listener::Unix(..)) => Kind::Unix,
            Socket::Datagram(socket) => socket.kind(),
        }
    }

    /// Where it is bound: an address, or a path.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn at(&self) -> io::Result<String> {
        let path = |at: tokio::net::unix::SocketAddr| {
            at.as_pathname().unwrap_or(Path::new("-")).display().to_string()
        };
        match self {
            Socket::Stream(Listener::Tcp(listener)) => Ok(listener.local_addr()?.to_string()),
            Socket::Stream(Listener::Unix(listener, _)) => listener.local_addr().map(path),
            Socket::Datagram(Datagrams::Udp(socket)) => Ok(socket.local_addr()?.to_string()),
            Socket::Datagram(Datagrams::UnixGram(socket, _)) => socket.local_addr().map(path),
        }
    }
}

/// Binds what `bind` names, each of its addresses; none where a default may be left out.
///
/// # Errors
///
/// One line that names what cannot be bound, and why.
pub(crate) async fn service(
    bind: &Bind<ListenerSpec>,
    backlog: u32,
) -> Result<Vec<Socket>, String> {
    let bound = match &bind.spec.at {
        At::Tcp(at) | At::Tls(at) => tcp(at, backlog)
            .await
            .map(|listeners| listeners.into_iter().map(Socket::Stream).collect()),
        At::Udp(at) => udp(at).await,
        At::Unix(at) => in_file_system(at, || {
            let socket = UnixSocket::new_stream()?;
            socket.bind(&at.path)?;
            let listener = socket.listen(backlog)?;
            Ok(Socket::Stream(Listener::Unix(listener, Some(SocketFile::of(&at.path)?))))
        }),
        At::UnixGram(at) => in_file_system(at, || {
            let socket = UnixDatagram::bind(&at.path)?;
            Ok(Socket::Datagram(Datagrams::UnixGram(socket, Some(SocketFile::of(&at.path)?))))
        }),
    };
    or_left_out(bound, &bind.spec.to_string(), bind.required)
}

/// Binds an address for HTTP, likewise.
///
/// # Errors
///
/// One line that names what cannot be bound, and why.
pub(crate) async fn http(
    bind: &Bind<HostPort>,
    scheme: &str,
    backlog: u32,
) -> Result<Vec<Listener>, String> {
    let what = format!("{scheme}://{}", bind.spec);
    or_left_out(tcp(&bind.spec, backlog).await, &what, bind.required)
}

fn or_left_out<T>(bound: io::Result<Vec<T>>, what: &str, required: bool) -> Result<Vec<T>, String> {
    match bound {
        Err(e) if !required && no_such_family(&e) => {
            tracing::info!("{what}: left out: {e}");
            Ok(Vec::new())
        }
        bound => bound.map_err(|e| format!("cannot listen on {what}: {}", crate::serve::plain(&e))),
    }
}

/// Whether this machine lacks what a default wanted: IPv6.
fn no_such_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

async fn tcp(at: &HostPort, backlog: u32) -> io::Result<Vec<Listener>> {
    let listen = |address: SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Connections of an earlier run that linger in TIME_WAIT do not block the port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog).map(Listener::Tcp)
    };
    lookup_host((at.host.as_str(), at.port)).await?.map(listen).collect()
}

async fn udp(at: &HostPort) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for address in lookup_host((at.host.as_str(), at.port)).await? {
        let socket = UdpSocket::bind(address).await?;
        sockets.push(Socket::Datagram(Datagrams::udp(socket)?));
    }
    Ok(sockets)
}

/// Binds a socket in the file system. One that is there already is replaced if nothing
/// answers on it.
fn in_file_system(
    at: &SocketPath,
    bind: impl FnOnce() -> io::Result<Socket>,
) -> io::Result<Vec<Socket>> {
    let path = Path::new(&at.path);
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("something is there that is no socket"));
        }
        // Whatever type it is of: nobody is behind it if this is refused.
        Ok(_) => match knock(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        },
    }
    let Some(mode) = at.mode else { return Ok(vec![bind()?]) };
    // The mode is there from the first moment: nobody else can come in between.
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = bind();
    umask(before);
    Ok(vec![bound?])
}

/// Connects to a socket file, without waiting for whoever may be behind it.
fn knock(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// The file of a socket that is ours: removed when dropped, if it still is.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &str) -> io::Result<SocketFile> {
        let (device, inode) = fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))?;
        Ok(SocketFile { path: path.into(), device, inode })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            fs::remove_file(&self.path).ok();
        }
    }
}
