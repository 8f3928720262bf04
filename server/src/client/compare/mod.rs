//! `echogate compare`: the differences of two recordings.
//!
//! - `content`: the content of one direction, without the ignored parts
//! - `difference`: the first difference of two contents
//! - `comparison`: the connections of two recordings; `latency`: the reply times
//! - `report`: the comparison as text; `junit`: the comparison as XML
//! - `selection`: the connections of a recording that a command uses

mod comparison;
mod content;
mod difference;
mod junit;
mod latency;
mod report;
mod selection;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use regex::bytes::{Regex, RegexBuilder};

pub(super) use self::{
    comparison::Comparison,
    report::of_clients,
    selection::{MAX_TARGET, Selection},
};
use super::Error;
use crate::{
    terminal,
    text::{escape::first_line, io_error::describe},
};

/// The most characters of a pattern's error that are shown.
const MAX_ERROR: usize = 200;

/// The command line of `echogate compare`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The first recording: pcap, pcapng, HAR or JSON Lines
    #[arg(value_name = "A")]
    a: PathBuf,

    /// The second recording, in any of these formats
    #[arg(value_name = "B")]
    b: PathBuf,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    output: OutputArgs,
}

/// The options of a comparison, as `compare` and `replay` take them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct OutputArgs {
    /// Remove what matches this regular expression before comparing, such as times and identifiers
    /// (repeatable). The expression matches bytes: \d and \w are ASCII only
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern)]
    pub(super) ignore: Vec<Regex>,

    /// Print the comparison as one JSON object
    #[arg(long)]
    pub(super) json: bool,

    /// Also write the comparison to FILE as JUnit XML, with a test case for each connection
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  echogate compare before.pcapng after.pcapng
  echogate compare browser.har server.jsonl --ignore '\"id\":\"[0-9a-f-]+\"' --json
  echogate compare a.jsonl b.jsonl --junit result.xml

Connections are compared in the order in which they begin: streams as bytes, however they were read, \
and WebSockets and datagrams message by message. Pings and Pongs are only counted.

Exit status: 0 the same; 1 different; 2 invalid usage, or a file that cannot be read or written.";

/// Parses a pattern that matches bytes of any encoding.
fn parse_pattern(text: &str) -> Result<Regex, String> {
    let pattern = RegexBuilder::new(text).unicode(false).build();
    pattern.map_err(|error| match error {
        // The last line has the reason, and those before it have the pattern.
        regex::Error::Syntax(text) => {
            first_line(text.lines().last().unwrap_or_default(), MAX_ERROR)
        }
        error => first_line(&error.to_string(), MAX_ERROR),
    })
}

/// Runs `echogate compare`.
pub(crate) fn run(args: &CompareArgs) -> Result<(), Error> {
    let [a, b] = [&args.a, &args.b].map(|path| {
        args.selection.read(path).map(|recording| (path.display().to_string(), recording))
    });
    let ((a_name, a), (b_name, b)) = (a?, b?);
    let comparison = Comparison::new([&a, &b], &args.output.ignore);
    args.output.print(&comparison, [&a_name, &b_name])
}

impl OutputArgs {
    /// Prints a comparison.
    ///
    /// # Errors
    ///
    /// The recordings differ, or the output fails.
    pub(super) fn print(&self, comparison: &Comparison, names: [&str; 2]) -> Result<(), Error> {
        let mut text = match self.json {
            true => serde_json::to_string(comparison).expect("it has no maps"),
            false => report::text(comparison, names),
        };
        text.push('\n');
        terminal::print_to_reader(text)
            .map_err(|error| failed(Path::new("standard output"), &error))?;
        if let Some(path) = &self.junit {
            let written = fs::write(path, junit::xml(comparison, names));
            written.map_err(|error| failed(path, &error))?;
        }
        match comparison.different() {
            0 => Ok(()),
            different => Err(Error::Failed(format!(
                "{different} of {} connections differ",
                comparison.connections.len()
            ))),
        }
    }
}

/// The error of an output that cannot be written. Its exit status differs from that of a
/// difference.
fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Usage(format!("{}: {}", path.display(), describe(error)))
}
