//! Routes and forwards that lead to themselves.

use std::net::IpAddr;

use echogate_proto::endpoint::HostPort;

use super::{Bind, ForwardSpec, ListenAddr, RouteSpec, TargetSpec, UpstreamSpec};

/// The routes and forwards, and the HTTP addresses at which routes are reached.
pub(super) struct Targets<'a> {
    pub(super) http: &'a [Bind<ListenAddr>],
    pub(super) routes: &'a [RouteSpec],
    pub(super) forwards: &'a [ForwardSpec],
}

/// A route or a forward, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Route(usize),
    Forward(usize),
}

impl Targets<'_> {
    /// The first route or forward that leads back to itself, directly or through others. Loops through
    /// other names or machines are found at run time, by the header field `Via`.
    pub(super) fn find_loop(&self) -> Option<Position> {
        let routes = (0..self.routes.len()).map(Position::Route);
        routes.chain((0..self.forwards.len()).map(Position::Forward)).find(|&start| {
            let steps = self.routes.len() + self.forwards.len();
            let mut at = start;
            (0..steps).any(|_| {
                let next = self.next(self.target(at));
                at = next.unwrap_or(at);
                next == Some(start)
            })
        })
    }

    fn target(&self, at: Position) -> &TargetSpec {
        match at {
            Position::Route(i) => &self.routes[i].target,
            Position::Forward(i) => &self.forwards[i].target,
        }
    }

    /// The route or forward to which a target leads.
    fn next(&self, target: &TargetSpec) -> Option<Position> {
        let forward = |leads: &dyn Fn(&ListenAddr) -> bool| {
            let position = self.forwards.iter().position(|forward| leads(&forward.at));
            position.map(Position::Forward)
        };
        let tcp = |to: &HostPort| forward(&|at| leads_by_tcp(to, at));
        match &target.upstream {
            UpstreamSpec::Tcp(to) | UpstreamSpec::Tls(to, _) => tcp(to),
            UpstreamSpec::WebSocket(spec) => tcp(&spec.at).or_else(|| {
                let path = spec.path.split('?').next().unwrap_or_default();
                let is_here = self.http.iter().any(|at| leads_by_tcp(&spec.at, &at.spec));
                let route = self.routes.iter().position(|route| is_here && route.path == path);
                route.map(Position::Route)
            }),
            UpstreamSpec::Udp(to) => {
                forward(&|at| matches!(at, ListenAddr::Udp(at) if leads(to, at)))
            }
            UpstreamSpec::Unix(to) => {
                forward(&|at| matches!(at, ListenAddr::Unix(at) if *to == at.path))
            }
            UpstreamSpec::UnixGram(to) => {
                forward(&|at| matches!(at, ListenAddr::UnixGram(at) if *to == at.path))
            }
            UpstreamSpec::Service(_) | UpstreamSpec::Listener(_) => None,
        }
    }
}

fn leads_by_tcp(to: &HostPort, at: &ListenAddr) -> bool {
    matches!(at, ListenAddr::Tcp(at) | ListenAddr::Tls(at) if leads(to, at))
}

/// Whether a connection to `to` reaches a socket that listens on `at`, as far as the addresses show
/// it.
fn leads(to: &HostPort, at: &HostPort) -> bool {
    let ip = |host: &str| match host {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.parse::<IpAddr>().ok(),
    };
    let is_localhost = [to, at].iter().any(|at| at.host == "localhost");
    // A socket bound to all IPv6 addresses accepts IPv4 connections as well.
    let is_any = |at: IpAddr, to: IpAddr| at.is_unspecified() && (at.is_ipv6() || to.is_ipv4());
    to.port == at.port
        && match (ip(&to.host), ip(&at.host)) {
            (Some(to), Some(at)) => {
                to == at || to.is_loopback() && (is_any(at, to) || at.is_loopback() && is_localhost)
            }
            _ => to.host.eq_ignore_ascii_case(&at.host),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_reaches_a_socket_of_all_addresses_only_in_a_family_of_the_socket() {
        let leads = |to: &str, at: &str| leads(&to.parse().unwrap(), &at.parse().unwrap());
        assert!(leads("127.0.0.1:7", "0.0.0.0:7"));
        assert!(leads("127.0.0.1:7", "[::]:7"));
        assert!(leads("[::1]:7", "[::]:7"));
        assert!(leads("[::1]:7", "localhost:7"));
        assert!(!leads("[::1]:7", "0.0.0.0:7"), "a forward from IPv4 to IPv6");
        assert!(!leads("[::1]:7", "127.0.0.1:7"));
    }
}
