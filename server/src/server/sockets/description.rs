//! The description of a socket that one server passes to the next: `PURPOSE URL`, and the mode of a
//! Unix socket's file if one is set, as `upper unix:///run/upper.sock 660`.

use std::{fmt, os::fd::OwnedFd};

use echogate_proto::endpoint::{Address, Endpoint};

use super::{BoundSocket, Purpose, SocketRole, bind::BindAddr, raw::RawSocket};
use crate::{config::SocketPath, net::socket_file::SocketFile, text::io_error};

impl BoundSocket {
    /// The description. None if the socket is not passed on: a service manager keeps it, or its
    /// file was replaced, so that no client reaches it.
    pub(crate) fn description(&self) -> Option<String> {
        let binding = self.binding.as_ref()?;
        if self.socket.file().is_some_and(|file| !file.is_ours()) {
            return None;
        }
        let mode = binding.mode().map(|mode| format!(" {mode:o}")).unwrap_or_default();
        Some(format!("{} {binding}{mode}", self.role.purpose))
    }

    /// The socket that was passed with `description`. Its process owns the file of a Unix socket.
    ///
    /// # Errors
    ///
    /// One line: the description is not valid, or the socket cannot be served.
    pub(crate) fn described(description: &str, descriptor: OwnedFd) -> Result<BoundSocket, String> {
        let wrong = |why: &str| format!("socket \"{description}\": {why}");
        let mut words = description.split(' ');
        let purpose = words.next().and_then(parse_purpose);
        let url = words.next().unwrap_or_default();
        let mode = words.next().map(|mode| u32::from_str_radix(mode, 8));
        let mode = mode.transpose().map_err(|_| wrong("the mode is not valid"))?;
        let binding = parse_binding(url, mode).ok_or_else(|| wrong("the URL is not valid"))?;
        let purpose = purpose.ok_or_else(|| wrong("the purpose is not known"))?;
        let unusable = |e: &std::io::Error| wrong(&io_error::describe(e));
        let raw = RawSocket::try_from(descriptor).map_err(|e| unusable(&e))?;
        let fits = match binding {
            BindAddr::Tcp(_) => matches!(raw, RawSocket::Tcp(_)),
            BindAddr::Udp(_) => matches!(raw, RawSocket::Udp(_)),
            BindAddr::Unix(_) => matches!(raw, RawSocket::Unix(_)),
            BindAddr::UnixGram(_) => matches!(raw, RawSocket::UnixGram(_)),
        };
        if !fits {
            return Err(wrong("the descriptor is that of another kind of socket"));
        }
        let file = binding.path().map(SocketFile::of_other).transpose();
        let socket = file.and_then(|file| raw.into_socket(file)).map_err(|e| unusable(&e))?;
        Ok(BoundSocket::new(socket, SocketRole::plain(purpose), Some(binding)))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Http => f.write_str("http"),
            Purpose::Service(service) => service.fmt(f),
            Purpose::Forward(i) => write!(f, "forward:{i}"),
            Purpose::Handover => f.write_str("handover"),
        }
    }
}

fn parse_purpose(text: &str) -> Option<Purpose> {
    match text {
        "http" => Some(Purpose::Http),
        "handover" => Some(Purpose::Handover),
        text => match text.strip_prefix("forward:") {
            Some(i) => i.parse().ok().map(Purpose::Forward),
            None => text.parse().ok().map(Purpose::Service),
        },
    }
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddr::Tcp(at) => write!(f, "tcp://{at}"),
            BindAddr::Udp(at) => write!(f, "udp://{at}"),
            BindAddr::Unix(at) => write!(f, "unix://{}", at.path),
            BindAddr::UnixGram(at) => write!(f, "unixgram://{}", at.path),
        }
    }
}

fn parse_binding(url: &str, mode: Option<u32>) -> Option<BindAddr> {
    Some(match url.split_once("://")? {
        ("tcp", at) => BindAddr::Tcp(at.parse().ok()?),
        ("udp", at) => BindAddr::Udp(at.parse().ok()?),
        _ => match url.parse::<Endpoint>().ok()?.address {
            Address::Unix(path) => BindAddr::Unix(SocketPath { path, mode }),
            Address::UnixGram(path) => BindAddr::UnixGram(SocketPath { path, mode }),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::service::Service;

    #[test]
    fn purposes_and_addresses_are_read_as_they_were_written() {
        let services = Service::ALL.map(Purpose::Service);
        let others = [Purpose::Http, Purpose::Handover, Purpose::Forward(12)];
        for purpose in services.into_iter().chain(others) {
            assert_eq!(parse_purpose(&purpose.to_string()), Some(purpose));
        }
        for url in [
            "tcp://127.0.0.1:0",
            "tcp://[fe80::1%3]:80",
            "udp://[::]:7007",
            "unix:///run/with%20space",
            "unixgram:///run/x%3Fy",
        ] {
            assert_eq!(parse_binding(url, None).unwrap().to_string(), url);
        }
        for wrong in ["", "tcp://", "tcp://localhost:1", "ws://127.0.0.1:1", "unix://relative"] {
            assert_eq!(parse_binding(wrong, None), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_description_that_does_not_fit_its_descriptor_is_refused() {
        for (description, why) in [
            ("upper udp://127.0.0.1:1", "another kind of socket"),
            ("lower tcp://127.0.0.1:1", "purpose"),
            ("upper", "URL"),
            ("upper unix:///run/x 9", "mode"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let error = BoundSocket::described(description, listener.into()).unwrap_err();
            assert!(error.contains(why) && error.contains(description), "{error}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(BoundSocket::described("upper tcp://127.0.0.1:1", file.into()).is_err());
    }
}
