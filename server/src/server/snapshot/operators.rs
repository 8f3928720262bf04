//! The targets on whose connections operators of the chat present their token, directly or by other
//! targets of this server.

use std::{collections::HashSet, path::Path};

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
    sockets: HashSet<String>,
    /// The paths of routes.
    routes: HashSet<String>,
}

impl Operators {
    pub(super) fn of(settings: &Settings, sockets: &BoundSockets) -> Operators {
        let mut operators = Operators::default();
        // Each round finds the targets that lead to those of the one before.
        loop {
            let count = operators.len();
            for bound in sockets.iter() {
                let is_one = match bound.role.purpose {
                    Purpose::Service(service) => service == Service::Operator,
                    Purpose::Forward(i) => {
                        operators.are_reached_by(&settings.forwards[i].target.upstream)
                    }
                    Purpose::Http | Purpose::Handover => false,
                };
                match bound.socket.tcp() {
                    _ if !is_one => {}
                    Some(at) => _ = operators.ports.insert(at.port()),
                    None => operators.sockets.extend(bound.socket.at()),
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
            UpstreamSpec::Tcp(at) | UpstreamSpec::Tls(at, _) => self.ports.contains(&at.port),
            UpstreamSpec::WebSocket(spec) => {
                let path = spec.path.split('?').next().unwrap_or_default();
                self.ports.contains(&spec.at.port)
                    || self.routes.iter().any(|it| it == ANY_PATH || path.ends_with(&**it))
            }
            UpstreamSpec::Unix(at) => {
                let path: &Path = at.as_ref();
                self.sockets.contains(&path.display().to_string())
            }
            UpstreamSpec::Udp(_) | UpstreamSpec::UnixGram(_) => false,
        }
    }
}
