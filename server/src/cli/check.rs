//! `echogate check`: validates settings, prints the resulting listeners and routes, and says how
//! a connection attempt would be answered.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use clap::Args;
use echogate_proto::endpoint::{Address, Endpoint, HostPort};

use super::{Error, logging, printed, serve::ServeArgs};
use crate::{
    config::{ANY_PATH, ActivatedNames, Bind, ListenAddr, RouteSpec, Settings, is_reserved},
    gateway::origin,
    net::authority::host_header,
    recording::model::Traffic,
    terminal::print_to_reader,
};

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Also report how the server would answer a connection to this WebSocket URL
    #[arg(long, value_name = "URL")]
    url: Option<Endpoint>,
    /// The origin of the page that opens the connection, such as http://localhost:8080 [default:
    /// none: a program that sends no Origin header]
    #[arg(long, value_name = "ORIGIN", requires = "url")]
    origin: Option<String>,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: CheckArgs) -> Result<(), Error> {
    logging::start(false).map_err(Error::Usage)?;
    let settings = args.serve.settings(&ActivatedNames::default()).map_err(Error::Usage)?;
    printed(print_to_reader(describe(&settings)))?;
    let Some(url) = args.url else { return Ok(()) };
    let answer = attempt(&settings, &url, args.origin.as_deref()).map_err(Error::Failed)?;
    printed(print_to_reader(format!("{answer}\n")))
}

/// The listeners, routes and forwards, one per line, and the summary of the settings.
fn describe(settings: &Settings) -> String {
    let mut lines = Vec::new();
    for Bind { spec, .. } in &settings.listeners {
        lines.push(format!("listen     {:<6} {}", spec.service, spec.at));
    }
    for Bind { spec: at, .. } in &settings.http {
        lines.push(format!("listen     http   {}", at.http_url()));
    }
    for route in &settings.routes {
        lines.push(format!("route      {}", describe_route(settings, route)));
    }
    for forward in &settings.forwards {
        lines.push(format!("forward    {forward}{}", forward.target.shown_options));
    }
    lines.extend(settings.summary_lines());
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Describes the route that accepts a connection to `url`, opened by a page of `origin`, or by a
/// program if `origin` is `None`.
///
/// # Errors
///
/// One line: why the server refuses the connection, and how.
fn attempt(settings: &Settings, url: &Endpoint, origin: Option<&str>) -> Result<String, String> {
    let (at, path, tls) = match &url.address {
        Address::Ws(at, path) => (at, path, false),
        Address::Wss(at, path) => (at, path, true),
        _ => return Err(format!("{url}: expected a ws:// or wss:// URL")),
    };
    check_port(settings, at).map_err(|why| format!("{url}: {why}"))?;
    let path = path.split('?').next().unwrap_or_default();
    let path = match settings.base_path.strip(path) {
        Some("") => "/",
        Some(rest) => rest,
        None => path,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, header_value(&host_header(at, tls))?);
    origin::check_host(&headers, true).map_err(|reason| format!("{url}: {reason} (400)"))?;
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, header_value(origin)?);
    }
    let is_https = |bind: &Bind<ListenAddr>| matches!(bind.spec, ListenAddr::Tls(_));
    if !tls && settings.http.iter().all(is_https) {
        return Err(format!("{url}: the server speaks TLS: use wss:// (400)"));
    }
    let check = origin::OriginCheck {
        // A proxy may speak TLS for a server that does not.
        is_tls: tls && settings.http.iter().any(is_https),
        forwarded: None,
        hosts: &settings.allow_host,
        origins: &settings.allow_origin,
    };
    if let Some(reason) = check.refusal(&headers) {
        return Err(format!("{url}: {reason} (403; for a page Close 1008)"));
    }
    let route = |wanted: &str| settings.routes.iter().find(|route| route.path == wanted);
    let any = || route(ANY_PATH).filter(|_| !is_reserved(path));
    match route(path).or_else(any) {
        Some(route) => Ok(format!("accepted   {}", describe_route(settings, route))),
        None => Err(format!("{url}: no such route: {path} (404; for a page Close 1008)")),
    }
}

fn describe_route(settings: &Settings, route: &RouteSpec) -> String {
    let RouteSpec { path, target } = route;
    let upstream = settings.listener_of(&target.upstream).map(ToString::to_string);
    let upstream = upstream.unwrap_or_else(|| target.upstream.to_string());
    let options = &target.shown_options;
    match target.upstream.traffic() {
        Traffic::Bytes => format!("{path} -> {upstream} ({}){options}", target.framing),
        Traffic::Messages | Traffic::Datagrams => format!("{path} -> {upstream}{options}"),
    }
}

/// Checks that HTTP is served on the port of `at`, if `at` is a loopback address. On other
/// addresses, and behind a proxy, clients may use ports that this server does not know.
fn check_port(settings: &Settings, at: &HostPort) -> Result<(), String> {
    let is_local = match at.host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => at.host == "localhost",
    };
    let may_serve = |bind: &Bind<ListenAddr>| match &bind.spec {
        ListenAddr::Tcp(http) | ListenAddr::Tls(http) => [0, at.port].contains(&http.port),
        _ => true,
    };
    if !is_local || !settings.forwarded_from.is_empty() || settings.http.iter().any(may_serve) {
        return Ok(());
    }
    let urls: Vec<_> = settings.http.iter().map(|bind| bind.spec.http_url()).collect();
    Err(format!("no listener on port {}: HTTP is on {}", at.port, urls.join(", ")))
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("\"{text}\" is not a valid header value"))
}
