//! Sockets passed by a service manager (systemd's socket activation: `LISTEN_FDS`,
//! sd_listen_fds(3)). The name of a socket (`FileDescriptorName=`) is `http` or a service.

use std::{env, io};

use listenfd::ListenFd;

use super::{bind::Socket, raw::RawSocket};
use crate::{config::ActivatedNames, service::Service};

/// Sockets passed by a service manager.
#[derive(Debug, Default)]
pub(crate) struct ActivatedSockets {
    /// Each with its service; none for HTTP.
    sockets: Vec<(Option<Service>, RawSocket)>,
}

impl ActivatedSockets {
    /// The sockets named by the environment, if it is addressed to this process.
    ///
    /// # Errors
    ///
    /// One line that names a socket that cannot be served.
    pub(crate) fn from_env() -> Result<ActivatedSockets, String> {
        // Read first: ListenFd clears the variables.
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut sockets = Vec::new();
        for i in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            let wrong = |what: String| format!("passed socket {} (\"{name}\"): {what}", i + 1);
            let raw = raw(&mut fds, i).ok_or_else(|| {
                wrong("neither a listening stream socket nor a datagram socket".to_owned())
            })?;
            let service: Option<Service> = match name {
                "http" => None,
                name => Some(name.parse().map_err(|e| {
                    wrong(format!("{e}, or http (FileDescriptorName= sets the name)"))
                })?),
            };
            let fits = matches!(raw, RawSocket::Tcp(_) | RawSocket::Unix(_))
                || service.is_some_and(Service::answers_datagrams);
            if !fits {
                return Err(wrong("a datagram socket cannot serve this".to_owned()));
            }
            sockets.push((service, raw));
        }
        Ok(ActivatedSockets { sockets })
    }

    pub(crate) fn names(&self) -> ActivatedNames {
        let mut names = ActivatedNames::default();
        for (service, _) in &self.sockets {
            match service {
                None => names.http = true,
                Some(service) => names.services.push(*service),
            }
        }
        names
    }

    /// The sockets, each with its service; none for HTTP.
    ///
    /// # Errors
    ///
    /// A socket cannot be made non-blocking or registered with the runtime.
    pub(crate) fn into_sockets(self) -> io::Result<Vec<(Option<Service>, Socket)>> {
        let socket = |(service, raw): (_, RawSocket)| Ok((service, raw.into_socket(None)?));
        self.sockets.into_iter().map(socket).collect()
    }
}

/// The socket at `i`, if it is of a kind that can be served.
fn raw(fds: &mut ListenFd, i: usize) -> Option<RawSocket> {
    let tcp = fds.take_tcp_listener(i).ok().flatten().map(RawSocket::Tcp);
    tcp.or_else(|| fds.take_unix_listener(i).ok().flatten().map(RawSocket::Unix))
        .or_else(|| fds.take_udp_socket(i).ok().flatten().map(RawSocket::Udp))
        .or_else(|| fds.take_unix_datagram(i).ok().flatten().map(RawSocket::UnixGram))
}
