//! Merges the layers of all sources with the defaults into [`Settings`].

use std::{path::PathBuf, time::Duration};

use echogate_proto::close::CloseCode;
use jiff::tz::TimeZone;

use super::{
    ActivatedNames, Bind, ClusterSettings, ConfigLayer, ListenAddr, Settings, Sources,
    addresses::sockets, endpoints::Endpoints, proxies, record, secrets::operator_token,
    settings::targets, sources::list, tls::load_tls,
};
use crate::{
    net::{
        networks::TrustedProxy,
        tls::{AppProtocol, client::ClientTls},
    },
    service::{Service, chat::Token},
};

impl Settings {
    /// Merges the sources and the defaults, and reads the files that they name. Sockets passed by a
    /// service manager (`activated`) replace default addresses.
    ///
    /// # Errors
    ///
    /// One line that names the setting and says what is wrong with it.
    pub(crate) fn load(sources: &Sources, activated: &ActivatedNames) -> Result<Settings, String> {
        let mut endpoints = Endpoints::new(sources, activated)?;
        let record = record::load(sources, &mut endpoints)?;
        let Endpoints { http, base_path, listeners, routes, forwards } = endpoints;
        let check_served = |service| {
            Endpoints::check_served(&listeners, targets(&routes, &forwards), service, activated)
        };
        check_forwarded_from(sources, &http, activated)?;
        let timezone = load_timezone(sources, check_served)?;
        let serves_http = !http.is_empty() || activated.http;
        let operator_token = load_operator_token(sources, serves_http, check_served)?;
        let tls = load_tls(sources, &sockets(sources, &listeners, &forwards, &http), &http)?;
        let web_root = load_web_root(sources)?;
        let cluster = load_cluster(sources)?;
        let proxies = proxies::load(sources, targets(&routes, &forwards))?;
        let seconds = Duration::from_secs;
        let time = |get: fn(&ConfigLayer) -> Option<Duration>| sources.value(get);
        let drain = time(|layer| layer.drain).unwrap_or(seconds(10));
        let drain_delay = load_drain_delay(sources, drain)?;
        Ok(Settings {
            http,
            base_path,
            listeners,
            routes,
            forwards,
            backlog: sources.value(|layer| layer.backlog).unwrap_or(4096),
            timezone,
            log_format: sources.log_format(),
            operator_token,
            tls,
            web_root,
            allow_origin: sources.list(|layer| &layer.allow_origin),
            allow_host: sources.list(|layer| &layer.allow_host),
            proxy_protocol_from: sources.list(|layer| &layer.proxy_protocol_from),
            forwarded_from: sources.list(|layer| &layer.forwarded_from),
            drain,
            drain_delay,
            drain_code: sources.value(|layer| layer.drain_code).unwrap_or(CloseCode::GOING_AWAY),
            handover: sources.value(|layer| layer.handover.clone()),
            proxies,
            record,
            cluster,
            max_message: sources.value(|layer| layer.max_message).unwrap_or(16 << 20),
            max_connections: sources.value(|layer| layer.max_connections).unwrap_or(20_000),
            max_per_address: sources.value(|layer| layer.max_per_address),
            api: sources.value(|layer| layer.no_api.then_some(())).is_none(),
            tap: sources.value(|layer| layer.no_tap.then_some(())).is_none(),
            control: sources.value(|layer| layer.no_control.then_some(())).is_none(),
            header_timeout: time(|layer| layer.header_timeout).unwrap_or(seconds(10)),
            write_timeout: time(|layer| layer.write_timeout).unwrap_or(seconds(30)),
            keep_alive_timeout: time(|layer| layer.keep_alive_timeout).unwrap_or(seconds(60)),
            dial_timeout: time(|layer| layer.dial_timeout).unwrap_or(seconds(10)),
            idle_timeout: time(|layer| layer.idle_timeout).filter(|time| !time.is_zero()),
            ping_interval: time(|layer| layer.ping_interval).unwrap_or(seconds(20)),
            ping_timeout: time(|layer| layer.ping_timeout).unwrap_or(seconds(20)),
        })
    }
}

/// Checks that the value `unix` of `--forwarded-from` has an effect.
fn check_forwarded_from(
    sources: &Sources,
    http: &[Bind<ListenAddr>],
    activated: &ActivatedNames,
) -> Result<(), String> {
    let found = sources.find("forwarded-from", |layer| list(&layer.forwarded_from));
    let Some((proxies, setting)) = found else { return Ok(()) };
    let has_socket = http.iter().any(|bind| matches!(bind.spec, ListenAddr::Unix(_)));
    // A passed socket may be a Unix socket.
    if has_socket || activated.http {
        return Ok(());
    }
    match proxies.iter().position(|proxy| *proxy == TrustedProxy::UnixSocket) {
        Some(i) => Err(format!(
            "{}: unix has no effect: HTTP is served on no Unix socket (--http unix:///PATH)",
            setting.element(i)
        )),
        None => Ok(()),
    }
}

fn load_timezone(
    sources: &Sources,
    check_served: impl Fn(Service) -> Result<(), String>,
) -> Result<TimeZone, String> {
    let Some((zone, setting)) = sources.find("timezone", |layer| layer.timezone.clone()) else {
        return Ok(TimeZone::system());
    };
    check_served(Service::Time).map_err(|why| format!("{setting} {why}"))?;
    Ok(zone)
}

/// The operators' token, which the service `operator` and the API over HTTP require.
fn load_operator_token(
    sources: &Sources,
    serves_http: bool,
    check_served: impl Fn(Service) -> Result<(), String>,
) -> Result<Option<Token>, String> {
    let file = sources.find("operator-token-file", |layer| layer.operator_token_file.clone());
    let Some((file, setting)) = file else { return Ok(None) };
    if !serves_http {
        check_served(Service::Operator).map_err(|why| format!("{setting} {why}"))?;
    }
    operator_token(&file).map(Some).map_err(|why| format!("{setting}: {why}"))
}

fn load_drain_delay(sources: &Sources, drain: Duration) -> Result<Duration, String> {
    match sources.find("drain-delay", |layer| layer.drain_delay) {
        Some((delay, setting)) if !delay.is_zero() && delay >= drain => {
            Err(format!("{setting}: expected less than --drain ({drain:?}), which includes it"))
        }
        found => Ok(found.map_or(Duration::ZERO, |(delay, _)| delay)),
    }
}

fn load_web_root(sources: &Sources) -> Result<Option<PathBuf>, String> {
    match sources.find("web-root", |layer| layer.web_root.clone()) {
        Some((folder, setting)) if !folder.is_dir() => {
            Err(format!("{setting}: {}: not a directory", folder.display()))
        }
        found => Ok(found.map(|(folder, _)| folder)),
    }
}

/// The broker that the sources name, if any. Reads the file of the option `ca`.
fn load_cluster(sources: &Sources) -> Result<Option<ClusterSettings>, String> {
    let Some((url, setting)) = sources.find("cluster", |layer| layer.cluster.clone()) else {
        return Ok(None);
    };
    let tls = url.is_tls.then(|| {
        let name = url.servers[0].without_zone();
        ClientTls::new(name, url.ca.as_deref(), None, AppProtocol::Bytes)
    });
    let tls = tls.transpose().map_err(|why| format!("{setting}: {why}"))?;
    Ok(Some(ClusterSettings { url, tls }))
}
