//! The connections of a recording that a command uses.

use std::path::Path;

use crate::{
    client::{Error, warn},
    config::parse_count,
    recording::{model::Recording, read::read_file},
    text::escape::first_line,
};

/// The most characters of a recorded target that are shown.
pub(in crate::client) const MAX_TARGET: usize = 100;

/// The connections that a command uses.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::client) struct Selection {
    /// Use only connection N of the recording, counted from 1 in the order in which connections
    /// begin (repeatable)
    #[arg(long = "connection", short = 'n', value_name = "N")]
    #[arg(value_parser = parse_count::<u32>)]
    numbers: Vec<u32>,
}

impl Selection {
    /// Reads the recording at `path`, and keeps the selected connections.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a selected connection does not exist or cannot be replayed.
    pub(in crate::client) fn read(&self, path: &Path) -> Result<Recording, Error> {
        let name = path.display();
        let recording = read_file(path).map_err(Error::Usage)?;
        for warning in &recording.warnings {
            warn(&format!("{name}: {warning}"));
        }
        let all = recording.connections.len();
        if let Some(number) = self.numbers.iter().find(|number| **number as usize > all) {
            let text = format!("{name}: no connection {number}: the recording has {all}");
            return Err(Error::Usage(text));
        }
        let mut connections = Vec::new();
        for (number, connection) in (1..).zip(recording.connections) {
            if !self.numbers.is_empty() && !self.numbers.contains(&number) {
                continue;
            }
            if let Some(refusal) = &connection.refusal {
                let others = if all > 1 { "; select others with --connection" } else { "" };
                let target = first_line(&connection.opened.target, MAX_TARGET);
                let text = format!("{name}: connection {number} (to {target}): {refusal}{others}");
                return Err(Error::Usage(text));
            }
            connections.push(connection);
        }
        Ok(connections.into())
    }
}
