//! The parameters of a query.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::text::escape::escape;

/// The parameters of a query, undecoded, in order. A parameter without `=` has no value.
///
/// # Errors
///
/// One line: a parameter is repeated.
pub(super) fn parameters(query: Option<&str>) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut all: Vec<(&str, Option<&str>)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        if all.iter().any(|(other, _)| *other == name) {
            return Err(format!("the parameter \"{}\" is repeated", escape(name)));
        }
        all.push((name, value));
    }
    Ok(all)
}

/// A parameter as it stands in the query.
pub(super) fn as_written((name, value): (&str, Option<&str>)) -> String {
    escape(&value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}")))
}

/// The response to a query with wrong parameters.
pub(super) fn bad_request(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response()
}
