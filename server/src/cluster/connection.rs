//! The connection to a server of the broker, or the reason why it cannot be made.

use std::{error::Error, io, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use echogate_proto::endpoint::HostPort;
use tokio_util::sync::CancellationToken;

use super::LocalReplica;
use crate::{
    config::{ClusterSettings, Login},
    text::{escape::escape, io_error::describe},
};

/// The time limit of a connection attempt, for each address of a server.
const CONNECT: Duration = Duration::from_secs(3);

/// The interval of the client's Pings. The connection is lost after three Pings without a Pong.
const PING: Duration = Duration::from_secs(1);

/// The most messages that the client queues for writing.
const UNWRITTEN: usize = 64;

/// The most messages of one subscription that wait for its inbox. Further ones are lost.
const UNTAKEN: usize = 1024;

/// A connection to a server of the broker.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// Cancelled when the connection is lost.
    pub(super) lost: CancellationToken,
}

/// Connects to one server. Later errors from the server, and messages that exceed [`UNTAKEN`], are
/// reported to `shared`.
///
/// # Errors
///
/// A text for a log line: the URL of the server, what is wrong with it, and what to do.
pub(super) async fn connect(
    shared: &Arc<LocalReplica>,
    settings: &ClusterSettings,
    at: &HostPort,
) -> Result<Connection, String> {
    let lost = CancellationToken::new();
    let (shared, is_lost) = (shared.clone(), lost.clone());
    let mut options = ConnectOptions::new()
        .name(format!("echogate {}", shared.name))
        .no_echo()
        .ignore_discovered_servers()
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .client_capacity(UNWRITTEN)
        .subscription_capacity(UNTAKEN)
        // The client makes one more attempt to connect, after which this connection is given up.
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => is_lost.cancel(),
                Event::SlowConsumer(_) => {
                    shared.counters.dropped.inc();
                }
                Event::ServerError(error) => {
                    shared.log_problem(&format!("the broker reports: {}", server_error(&error)));
                }
                _ => {}
            }
            std::future::ready(())
        });
    options = match &settings.url.login {
        Some(Login::Password(login)) => {
            options.user_and_password(login.user.clone(), login.password.clone())
        }
        Some(Login::Token(token)) => options.token(token.clone()),
        None => options,
    };
    if let Some(tls) = &settings.tls {
        options = options.tls_client_config(tls.config()?).require_tls(true);
    }
    let scheme = if settings.url.is_tls { "tls" } else { "nats" };
    let url = format!("{scheme}://{at}");
    match options.connect(&url).await {
        Ok(client) => Ok(Connection { client, lost }),
        Err(error) => Err(format!("{url} {}", reason(&error, settings.url.login.is_some()))),
    }
}

fn server_error(error: &ServerError) -> String {
    let text = match error {
        ServerError::Other(text) => text.clone(),
        other => other.to_string(),
    };
    escape(&text)
}

/// The predicate of a sentence about a server that cannot be used.
fn reason(error: &ConnectError, has_login: bool) -> String {
    let cause = error.source();
    let text = || escape(&cause.map_or_else(|| error.to_string(), ToString::to_string));
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let what = match has_login {
                true => "refuses the credentials of --cluster",
                false => "needs credentials: USER:PASSWORD@ or TOKEN@ in --cluster",
            };
            what.to_owned()
        }
        ConnectErrorKind::TimedOut => format!(
            "does not answer within {CONNECT:?}: it is too slow, or it is not a NATS server"
        ),
        ConnectErrorKind::Dns => format!("cannot be resolved: {}", text()),
        ConnectErrorKind::Tls => format!("cannot be used with TLS: {}", text()),
        _ => match cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
            Some(error) if error.kind() == io::ErrorKind::InvalidInput => {
                "does not speak the protocol of NATS".to_owned()
            }
            Some(error) => format!("cannot be used: {}", describe(error)),
            // async-nats has no type for this cause, which leaves its text.
            None if text().starts_with("expected INFO") => {
                "closes the connection without a greeting: it is not a NATS server".to_owned()
            }
            None => format!("cannot be used: {}", text()),
        },
    }
}
