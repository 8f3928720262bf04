//! Text in messages: escaping, credentials, error texts, suggestions.

pub(crate) mod credentials;
pub(crate) mod escape;
pub(crate) mod io_error;
pub(crate) mod suggest;
