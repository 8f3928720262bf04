//! Routes: WebSocket paths and their upstreams.

use std::str::FromStr;

use super::{
    upstream::{TargetSpec, UpstreamSpec},
    values::SpecError,
};
use crate::{recording::model::Traffic, service::Service, text::escape::escape};

/// Paths of the page's files. A route may use only `/`, where the server answers an opening
/// handshake by the route and any other request by the page.
pub(crate) const PAGE_PATHS: [&str; 7] = [
    "/",
    "/style.css",
    "/sockets.js",
    "/echogate.js",
    "/echogate_bg.wasm",
    "/zh-Hans.txt",
    "/favicon.svg",
];

/// Further paths of the server itself, besides those below `/api/`, that no route may use.
const RESERVED_PATHS: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/version", "/api"];

/// The path of a route for all paths that are neither reserved nor those of other routes.
pub(crate) const ANY_PATH: &str = "/*";

/// `PATH=URL`: a WebSocket path and its upstream.
#[derive(Clone, Debug)]
pub(crate) struct RouteSpec {
    /// The path of the request, without the query; or [`ANY_PATH`].
    pub(crate) path: String,
    pub(crate) target: TargetSpec,
}

/// The default routes, one per service. The upstream is the service's plain TCP listener, or the
/// service in memory if it has none. `chat` is always in memory, so that its operators see the
/// client's address instead of the gateway's.
pub(super) fn default_routes(has_listener: impl Fn(Service) -> bool) -> Vec<RouteSpec> {
    let routes = [
        ("/ws", Service::Upper),
        ("/ws/echo", Service::Echo),
        ("/ws/time", Service::Time),
        ("/ws/chat", Service::Chat),
        ("/ws/operator", Service::Operator),
    ];
    let routes = routes.map(|(path, service)| {
        let upstream = match has_listener(service) && service != Service::Chat {
            true => UpstreamSpec::Listener(service),
            false => UpstreamSpec::Service(service),
        };
        let target = TargetSpec::plain(upstream, service.framing());
        RouteSpec { path: path.to_owned(), target }
    });
    routes.into()
}

impl FromStr for RouteSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<RouteSpec, String> {
        let (path, url) =
            text.split_once('=').ok_or("expected PATH=URL, such as /ws=tcp://127.0.0.1:7007")?;
        Ok(RouteSpec::new(path, url)?)
    }
}

impl RouteSpec {
    /// Parses the two parts of `PATH=URL`.
    pub(super) fn new(path: &str, url: &str) -> Result<RouteSpec, SpecError> {
        check_path(path).map_err(SpecError::Name)?;
        let target = TargetSpec::parse(url, Traffic::Messages).map_err(SpecError::Url)?;
        Ok(RouteSpec { path: path.to_owned(), target })
    }
}

/// Whether the server itself answers requests for `path`.
pub(crate) fn is_reserved(path: &str) -> bool {
    let is_page = PAGE_PATHS.contains(&path) && path != "/";
    is_page || RESERVED_PATHS.contains(&path) || path.starts_with("/api/")
}

/// Checks that a handshake can request `path` and that the server itself does not use it.
fn check_path(path: &str) -> Result<(), String> {
    if is_reserved(path) {
        return Err(format!("path {path} is reserved by the server"));
    }
    if path == ANY_PATH { Ok(()) } else { check_characters(path) }
}

/// Checks that `path` has only characters and segments that clients send unchanged.
pub(super) fn check_characters(path: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(format!(
            "path \"{}\": expected / and then letters, digits, or any of / - . _ ~",
            escape(path)
        ));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!(
            "path \"{path}\": clients resolve . and .. before they send a request"
        ));
    }
    Ok(())
}
