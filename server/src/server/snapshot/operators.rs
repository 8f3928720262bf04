//! The targets on whose connections operators of the chat present their token, directly or by other
//! targets of this server.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::super::sockets::{BoundSockets, Purpose};
use crate::{
    config::{ANY_PATH, Settings, UpstreamSpec},
    service::Service,
};

/// The endpoints of this server at which operators present their token. Hosts are not compared, since
/// this server may be reached by any name: another server at the same port or path counts too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Operators {
    /// The ports of TCP listeners.
    ports: HashSet<u16>,
    /// The paths of Unix sockets.
    sockets: HashSet<PathBuf>,
    /// The paths of routes.
    routes: HashSet<String>,
    /// The ports and the Unix sockets of HTTP, which lead to all routes.
    http_ports: HashSet<u16>,
    http_sockets: HashSet<PathBuf>,
}

impl Operators {
    pub(super) fn of(settings: &Settings, sockets: &BoundSockets) -> Operators {
        let mut operators = Operators::default();
        // Each round finds the targets that lead to those of the one before.
        loop {
            let count = operators.len();
            for bound in sockets.iter() {
                let Operators { ports, sockets, http_ports, http_sockets, .. } = &mut operators;
                let (ports, sockets) = match bound.role.purpose {
                    Purpose::Service(Service::Operator) => (ports, sockets),
                    Purpose::Http => (http_ports, http_sockets),
                    Purpose::Forward(i) => {
                        if !operators.are_reached_by(&settings.forwards[i].target.upstream) {
                            continue;
                        }
                        (&mut operators.ports, &mut operators.sockets)
                    }
                    Purpose::Service(_) | Purpose::Handover => continue,
                };
                match bound.socket.tcp() {
                    Some(at) => _ = ports.insert(at.port()),
                    None => sockets.extend(bound.socket.at().map(|path| canonical(path.as_ref()))),
                }
            }
            for route in &settings.routes {
                if operators.are_reached_by(&route.target.upstream) {
                    operators.routes.insert(route.path.clone());
                }
            }
            if operators.len() == count {
                return operators;
            }
        }
    }

    fn len(&self) -> usize {
        self.ports.len() + self.sockets.len() + self.routes.len()
    }

    /// Whether this server has operators.
    pub(super) fn exist(&self) -> bool {
        self.len() > 0
    }

    /// Whether operators present their token on connections to `upstream`.
    pub(super) fn are_reached_by(&self, upstream: &UpstreamSpec) -> bool {
        match upstream {
            UpstreamSpec::Service(service) | UpstreamSpec::Listener(service) => {
                *service == Service::Operator
            }
            UpstreamSpec::Tcp(at) | UpstreamSpec::Tls(at, _) => {
                let is_http = || !self.routes.is_empty() && self.http_ports.contains(&at.port);
                self.ports.contains(&at.port) || is_http()
            }
            UpstreamSpec::WebSocket(spec) => {
                let path = spec.path.split('?').next().unwrap_or_default();
                self.ports.contains(&spec.at.port)
                    || self.routes.iter().any(|it| it == ANY_PATH || path.ends_with(&**it))
            }
            UpstreamSpec::Unix(at) => {
                let path = canonical(at.as_ref());
                let is_http = || !self.routes.is_empty() && self.http_sockets.contains(&path);
                self.sockets.contains(&path) || is_http()
            }
            UpstreamSpec::Udp(_) | UpstreamSpec::UnixGram(_) => false,
        }
    }
}

/// The path of a socket without symbolic links.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
