//! Requests below `--base-path`.
//!
//! A proxy may pass the base path on or strip it, so every path is answered below the base path
//! and at the root. Redirections lead below the base path in either case.

use axum::{
    http::{HeaderValue, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{config::BasePath, gateway::handshake};

/// Strips the base path from the target of a request.
///
/// # Errors
///
/// A redirection from the base path to the base path with a trailing slash, which the relative URLs
/// of the page need. An opening handshake is passed to `/` instead, since WebSocket clients do not
/// follow redirections.
#[expect(clippy::result_large_err, reason = "it is a response, and as large as the request")]
pub(super) fn strip<B>(base: &BasePath, mut request: Request<B>) -> Result<Request<B>, Response> {
    let Some(rest) = base.strip(request.uri().path()) else { return Ok(request) };
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    let is_base = rest.is_empty();
    let target = format!("{}{query}", if is_base { "/" } else { rest });
    if is_base && !handshake::wants_upgrade(&request) {
        let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
        set_location(&mut response, &format!("{base}{target}"));
        return Err(response);
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    Ok(request)
}

/// Puts the base path before the path of a redirection.
pub(super) fn complete_location(base: &BasePath, response: &mut Response) {
    let location = response.headers().get(header::LOCATION);
    if let Some(path) = location.and_then(|location| location.to_str().ok())
        && path.starts_with('/')
    {
        let location = format!("{base}{path}");
        set_location(response, &location);
    }
}

fn set_location(response: &mut Response, location: &str) {
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}
