//! The cards of an empty transcript: the routes and listeners of the server, each with a message to
//! try and with commands that reach it from a terminal.

use echogate_proto::api::{Endpoints, ListenerInfo, RouteInfo};

use crate::{live, location::Location};

/// A route of the server, or a service with listeners and without a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The path of the route.
    pub path: Option<String>,
    /// The service of this server behind it.
    pub service: Option<Service>,
    /// The URL of the upstream, or of the first listener.
    pub target: String,
    /// Commands for a terminal: one for each listener of the service, and one for the route.
    pub commands: Vec<String>,
}

/// A built-in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Replies in upper case.
    Upper,
    /// Replies with the same bytes.
    Echo,
    /// Replies to a Unix timestamp with the date.
    Time,
    /// Passes messages to the operators.
    Chat,
}

impl Service {
    /// The service's name on the server.
    pub fn name(self) -> &'static str {
        match self {
            Service::Upper => "upper",
            Service::Echo => "echo",
            Service::Time => "time",
            Service::Chat => "chat",
        }
    }

    fn of(name: &str) -> Option<Service> {
        [Service::Upper, Service::Echo, Service::Time, Service::Chat]
            .into_iter()
            .find(|service| service.name() == name)
    }
}

impl Card {
    /// A message that shows what the service does.
    pub fn message(&self) -> &'static str {
        message(self.service)
    }
}

/// The cards of a server's endpoints: one for each route, and one for each service with listeners that
/// no route leads to. The operators' route is left out: it needs a token.
pub fn cards(endpoints: &Endpoints, location: &Location) -> Vec<Card> {
    let mut with_card = Vec::new();
    let mut cards = Vec::new();
    for route in live::offered_routes(endpoints) {
        let service = live::service_of(endpoints, route);
        with_card.extend(service);
        cards.push(of_route(endpoints, route, service, location));
    }
    for listener in &endpoints.listeners {
        let service = &*listener.service;
        if !with_card.contains(&service) {
            with_card.push(service);
            cards.push(Card {
                path: None,
                service: Service::of(service),
                target: address(listener).to_owned(),
                commands: commands(endpoints, location, service),
            });
        }
    }
    cards
}

/// The command that sends a message to a listener of this service, if there is one.
pub fn command_for(endpoints: &Endpoints, location: &Location, service: &str) -> Option<String> {
    commands(endpoints, location, service).into_iter().next()
}

/// Host and port of a TCP listener of this service, if there is one.
pub fn tcp_listener(
    endpoints: &Endpoints,
    location: &Location,
    service: &str,
) -> Option<(String, String)> {
    let at = endpoints.listeners.iter().find_map(|listener| {
        address(listener).strip_prefix("tcp://").filter(|_| listener.service == service)
    })?;
    let [host, port] = split(at, location);
    Some((host.trim_matches(['[', ']']).to_owned(), port.to_owned()))
}

fn of_route(
    endpoints: &Endpoints,
    route: &RouteInfo,
    service: Option<&str>,
    location: &Location,
) -> Card {
    let path = route.path.trim_end_matches('*');
    let mut commands = service.map_or(Vec::new(), |it| commands(endpoints, location, it));
    commands.push(format!("websocat {}", location.url_of(path)));
    Card {
        path: Some(path.to_owned()),
        service: service.and_then(Service::of),
        target: route.upstream.clone(),
        commands,
    }
}

/// A command for each listener of a service. Listeners that differ only in the address family, on
/// loopback or on all addresses, have one command: that of the first.
fn commands(endpoints: &Endpoints, location: &Location, service: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let of_service = endpoints.listeners.iter().filter(|it| it.service == service);
    let first_of_family = of_service.filter(|listener| {
        let socket = address(listener).replace("[::1]", "127.0.0.1").replace("[::]", "0.0.0.0");
        let is_first = !seen.contains(&socket);
        seen.push(socket);
        is_first
    });
    first_of_family.map(|listener| command(listener, location)).collect()
}

/// The URL of a listener without its parameters.
fn address(listener: &ListenerInfo) -> &str {
    listener.url.split(['?', '#']).next().unwrap_or_default()
}

fn command(listener: &ListenerInfo, location: &Location) -> String {
    let url = address(listener);
    let print = format!("echo {} |", message(Service::of(&listener.service)));
    match url.split_once("://") {
        Some(("tcp", at)) => format!("{print} nc -N {}", host_and_port(at, location)),
        Some(("udp", at)) => format!("{print} nc -u -w 1 {}", host_and_port(at, location)),
        Some(("unix", path)) => format!("{print} nc -NU {path}"),
        Some((scheme @ "tls", at)) => {
            let [host, port] = split(at, location);
            format!("{print} echogate connect {scheme}://{host}:{port}")
        }
        _ => format!("{print} echogate connect {url}"),
    }
}

/// A message that shows what a service does.
fn message(service: Option<Service>) -> &'static str {
    if service == Some(Service::Time) { "1532345678" } else { "hello" }
}

fn host_and_port(at: &str, location: &Location) -> String {
    let [host, port] = split(at, location);
    format!("{} {port}", host.trim_matches(['[', ']']))
}

/// Host and port. A listener on all addresses is reached at the address of the page.
fn split<'a>(at: &'a str, location: &'a Location) -> [&'a str; 2] {
    let (host, port) = at.rsplit_once(':').unwrap_or((at, ""));
    if matches!(host, "0.0.0.0" | "[::]") { [location.host_name(), port] } else { [host, port] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, upstream: &str) -> RouteInfo {
        RouteInfo {
            path: path.into(),
            upstream: upstream.into(),
            framing: "message".into(),
            protocol: None,
        }
    }

    fn listener(service: &str, url: &str) -> ListenerInfo {
        ListenerInfo { service: service.into(), url: url.into() }
    }

    fn location() -> Location {
        Location { secure: false, host: "h:8080".to_owned(), base: String::new() }
    }

    fn commands(cards: &[Card]) -> Vec<Vec<&str>> {
        cards.iter().map(|card| card.commands.iter().map(|it| &**it).collect()).collect()
    }

    #[test]
    fn cards_have_a_command_for_each_listener_of_their_service() {
        let endpoints = Endpoints {
            routes: vec![
                route("/ws", "tcp://127.0.0.1:7007"),
                route("/ws/echo", "service:echo"),
                route("/ws/operator", "service:operator"),
                route("/*", "tcp://10.0.0.1:5900"),
            ],
            listeners: vec![
                listener("upper", "tcp://127.0.0.1:7007"),
                listener("upper", "tcp://[::1]:7007"),
                listener("time", "tcp://[::]:7013?backlog=9"),
                listener("time", "tcp://0.0.0.0:7013"),
                listener("time", "udp://[::]:7013"),
                listener("time", "tcp://10.0.0.1:7013"),
            ],
            forwards: Vec::new(),
        };
        let cards = cards(&endpoints, &location());
        assert_eq!(
            commands(&cards),
            [
                vec!["echo hello | nc -N 127.0.0.1 7007", "websocat ws://h:8080/ws"],
                vec!["websocat ws://h:8080/ws/echo"],
                vec!["websocat ws://h:8080/"],
                vec![
                    "echo 1532345678 | nc -N h 7013",
                    "echo 1532345678 | nc -u -w 1 h 7013",
                    "echo 1532345678 | nc -N 10.0.0.1 7013",
                ],
            ]
        );
        let services: Vec<_> = cards.iter().map(|card| card.service).collect();
        assert_eq!(
            services,
            [Some(Service::Upper), Some(Service::Echo), None, Some(Service::Time)]
        );
        assert_eq!(command_for(&endpoints, &location(), "chat"), None);
    }

    #[test]
    fn each_kind_of_listener_has_a_command() {
        for (url, command) in [
            ("tcp://[::1]:7007", "echo hello | nc -N ::1 7007"),
            ("udp://127.0.0.1:7", "echo hello | nc -u -w 1 127.0.0.1 7"),
            ("unix:///run/e.sock", "echo hello | nc -NU /run/e.sock"),
            ("tls://0.0.0.0:7443?cert=c", "echo hello | echogate connect tls://h:7443"),
            ("unixgram:///run/e.sock", "echo hello | echogate connect unixgram:///run/e.sock"),
        ] {
            let endpoints =
                Endpoints { listeners: vec![listener("upper", url)], ..Endpoints::default() };
            assert_eq!(command_for(&endpoints, &location(), "upper").as_deref(), Some(command));
        }
    }
}
