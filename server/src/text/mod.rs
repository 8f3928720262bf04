//! Text in messages: escaping, credentials, error texts, secrets, suggestions.

pub(crate) mod credentials;
pub(crate) mod escape;
pub(crate) mod io_error;
pub(crate) mod secrets;
pub(crate) mod suggest;
