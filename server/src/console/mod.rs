//! The chat operator at the server's own terminal: `echogate serve --console`.
//!
//! - `operator`: a task that connects the terminal with the hub
//! - `commands`: typed lines, and the text to show; no I/O

mod commands;
mod operator;

pub(crate) use self::operator::ConsoleOperator;
