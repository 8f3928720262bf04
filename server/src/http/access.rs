//! Access to taps, to the requests that end connections, and to the details of `/readyz`, for clients
//! of this machine and for those that present the operators' token.

use axum::http::{HeaderMap, header};
use echogate_proto::reason::{self, fill};

use crate::{
    config::Settings,
    connections::{
        counters::Refusal,
        registry::{Entry, Peer},
    },
    context::ServerContext,
};

/// The header fields by which proxies name their client.
const PROXY_FIELDS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// A request that is not open to everyone.
pub(super) enum Action<'a> {
    /// Observing a connection; `None` for the next one, and if there is no connection with the
    /// requested identifier.
    Tap(Option<&'a Entry>),
    Close,
    /// Ending the server.
    Drain,
    /// Reading the details of `/readyz`.
    Details,
}

impl Action<'_> {
    /// The reason for a refusal, if a setting disables the action.
    fn disabled(&self, settings: &Settings) -> Option<&'static str> {
        match self {
            Action::Tap(_) => (!settings.tap).then_some(reason::NO_TAPS),
            Action::Close | Action::Drain => (!settings.control).then_some(reason::NO_CONTROL),
            Action::Details => None,
        }
    }

    /// The action as the subject of a sentence.
    pub(super) fn subject(&self) -> &'static str {
        match self {
            Action::Tap(_) => reason::TAP,
            Action::Close => reason::CLOSING,
            Action::Drain => reason::DRAIN,
            Action::Details => reason::DETAILS,
        }
    }
}

/// Checks that a client may perform an action: the client is on this machine, or presents the
/// operators' token. Observing a connection on which that token passes needs the token in any case.
/// Counts a refusal.
///
/// # Errors
///
/// The reason for the refusal.
pub(super) fn check(
    context: &ServerContext,
    peer: &Peer,
    headers: &HeaderMap,
    action: &Action<'_>,
) -> Result<(), String> {
    let checked = check_uncounted(context, peer, headers, action);
    if checked.is_err() {
        context.counters.refused.count(Refusal::Policy);
    }
    checked
}

/// Whether a client may read the details of `/readyz`.
pub(super) fn reads_details(context: &ServerContext, peer: &Peer, headers: &HeaderMap) -> bool {
    check_uncounted(context, peer, headers, &Action::Details).is_ok()
}

fn check_uncounted(
    context: &ServerContext,
    peer: &Peer,
    headers: &HeaderMap,
    action: &Action<'_>,
) -> Result<(), String> {
    if let Some(reason) = action.disabled(&context.settings) {
        return Err(reason.to_owned());
    }
    let what = action.subject();
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match token {
            Some((_, token)) if context.hub.token().matches(token.trim()) => Ok(()),
            _ => Err(reason::WRONG_TOKEN.to_owned()),
        };
    }
    if matches!(action, Action::Tap(Some(entry)) if entry.leads_to_operators()) {
        return Err(fill(reason::OPERATORS_TOKEN_NEEDED, &[what]));
    }
    // A client of a Unix socket is on this machine.
    if !peer.ip().is_none_or(|ip| ip.to_canonical().is_loopback()) {
        return Err(fill(reason::REMOTE_TOKEN_NEEDED, &[what]));
    }
    // Clients of a proxy on this machine would otherwise count as local. Only a trusted proxy names
    // its clients.
    let is_proxy = context.settings.forwarded_from.iter().any(|proxy| proxy.includes(peer));
    if is_proxy || PROXY_FIELDS.iter().any(|field| headers.contains_key(*field)) {
        return Err(fill(reason::PROXIED_TOKEN_NEEDED, &[what]));
    }
    Ok(())
}
