//! Text for people: escaping, error texts, suggestions.

pub(crate) mod escape;
pub(crate) mod io_error;
pub(crate) mod suggest;
