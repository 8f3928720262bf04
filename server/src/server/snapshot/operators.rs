//! The targets on whose connections operators of the chat present their token, directly or through
//! other targets of this server.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::{
    config::{ANY_PATH, Settings, UpstreamSpec},
    server::sockets::{BoundSockets, Purpose, bind::Socket},
    service::Service,
};

/// The endpoints of this server at which operators present their token. Hosts are not compared, since
/// this server may be reached by any name: another server at the same port or path counts too.
#[derive(Debug, Default)]
pub(super) struct Operators {
    /// Listeners of the service, and forwards that lead to operators.
    direct: Sockets,
    /// The paths of routes that lead to operators.
    routes: HashSet<String>,
    /// The sockets of HTTP, which lead to all routes.
    http: Sockets,
}

/// Stream sockets that this server has bound.
#[derive(Debug, Default)]
struct Sockets {
    ports: HashSet<u16>,
    paths: HashSet<PathBuf>,
}

impl Operators {
    pub(super) fn of(settings: &Settings, sockets: &BoundSockets) -> Operators {
        let mut operators = Operators::default();
        // Each round finds the targets that lead to those found in the previous round.
        loop {
            let count = operators.len();
            for bound in sockets.iter() {
                match bound.role.purpose {
                    Purpose::Service(Service::Operator) => operators.direct.insert(&bound.socket),
                    Purpose::Forward(i)
                        if operators.are_reached_by(&settings.forwards[i].target.upstream) =>
                    {
                        operators.direct.insert(&bound.socket);
                    }
                    Purpose::Http => operators.http.insert(&bound.socket),
                    Purpose::Service(_) | Purpose::Forward(_) | Purpose::Handover => {}
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
        self.direct.ports.len() + self.direct.paths.len() + self.routes.len()
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
            UpstreamSpec::WebSocket(spec) => {
                let path = spec.path.split('?').next().unwrap_or_default();
                self.direct.ports.contains(&spec.at.port)
                    || self.routes.iter().any(|it| it == ANY_PATH || path.ends_with(&**it))
            }
            UpstreamSpec::Tcp(_) | UpstreamSpec::Tls(..) | UpstreamSpec::Unix(_) => {
                self.direct.are_reached_by(upstream)
                    || !self.routes.is_empty() && self.http.are_reached_by(upstream)
            }
            UpstreamSpec::Udp(_) | UpstreamSpec::UnixGram(_) => false,
        }
    }
}

impl Sockets {
    fn insert(&mut self, socket: &Socket) {
        match socket.tcp() {
            Some(at) => _ = self.ports.insert(at.port()),
            None => self.paths.extend(socket.at().map(|path| canonical(path.as_ref()))),
        }
    }

    fn are_reached_by(&self, upstream: &UpstreamSpec) -> bool {
        match upstream {
            UpstreamSpec::Tcp(at) | UpstreamSpec::Tls(at, _) => self.ports.contains(&at.port),
            UpstreamSpec::Unix(path) => self.paths.contains(&canonical(path.as_ref())),
            _ => false,
        }
    }
}

/// The path of a socket without symbolic links.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
