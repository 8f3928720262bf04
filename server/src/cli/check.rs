//! `echogate check`: what a server with these settings would do, without one.

use std::io::{self, Write};

use axum::http::{HeaderMap, HeaderValue, header};
use echogate_proto::endpoint::{Address, Endpoint, HostPort};

use crate::{
    config::{Bind, RouteSpec, Settings},
    gateway::origin,
};

/// A connection that might be made.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Where to.
    pub(crate) url: Endpoint,
    /// The origin of the page that makes it, if it is one.
    pub(crate) origin: Option<String>,
}

/// Says what would listen and where the routes lead, a line each.
///
/// # Errors
///
/// Those of `out`.
pub(crate) fn describe(settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    for Bind { spec, .. } in &settings.listeners {
        writeln!(out, "listen     {:<6} {}", spec.service, spec.at)?;
    }
    let scheme = settings.http_scheme();
    for Bind { spec: at, .. } in &settings.http {
        writeln!(out, "listen     http   {scheme}://{at}")?;
    }
    for route in &settings.routes {
        writeln!(out, "route      {}", describe_route(route))?;
    }
    Ok(())
}

/// Says what an attempt would meet; the error is why it would fail.
///
/// # Errors
///
/// What would refuse it, in one line.
pub(crate) fn judge(settings: &Settings, attempt: &Attempt) -> Result<String, String> {
    let Attempt { url, origin } = attempt;
    let (at, path) = match &url.address {
        Address::Ws(at, path) => (at, path),
        Address::Wss(at, path) => (at, path),
        _ => return Err(format!("{url}: expected a ws:// or wss:// URL")),
    };
    let path = path.split('?').next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, value(&host_header(at, &url.address))?);
    origin::check_host(&headers, true).map_err(|reason| format!("{url}: {reason} (400)"))?;
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, value(origin)?);
    }
    let addressed = origin::Addressed {
        is_tls: settings.tls.is_some(),
        forwarded: None,
        hosts: &settings.allow_host,
        origins: &settings.allow_origin,
    };
    if let Some(reason) = addressed.refusal(&headers) {
        return Err(format!("{url}: {reason} (403; for a page Close 1008)"));
    }
    match settings.routes.iter().find(|route| route.path == path) {
        Some(route) => Ok(format!("accepted   {}", describe_route(route))),
        None => Err(format!("{url}: no such route: {path} (404; for a page Close 1008)")),
    }
}

fn describe_route(route: &RouteSpec) -> String {
    format!("{} -> {} ({})", route.path, route.upstream, route.framing)
}

/// `Host` as a browser sends it: without the scheme's own port.
fn host_header(at: &HostPort, address: &Address) -> String {
    let own_port = if matches!(address, Address::Ws(..)) { 80 } else { 443 };
    let all = at.to_string();
    match all.strip_suffix(&format!(":{own_port}")) {
        Some(host) if at.port == own_port => host.to_owned(),
        _ => all,
    }
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("\"{text}\" cannot stand in a header"))
}
