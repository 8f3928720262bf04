//! Errors of the command line, as one line each.

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// The error and its tips, joined into one line. `program` is the whole command line.
pub(super) fn one_line(error: &clap::Error, program: &Command) -> String {
    if let Some(line) = misplaced_flags(error, program) {
        return line;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    if line.ends_with(':') {
        // The list of missing arguments begins on the next line.
        line.push(' ');
        line.push_str(lines.next().unwrap_or_default());
    }
    for tip in lines.filter_map(|line| line.strip_prefix("tip: ")) {
        line.push_str("; ");
        line.push_str(tip);
    }
    line
}

/// The error for flags before a command: where they belong, if the command takes them.
fn misplaced_flags(error: &clap::Error, program: &Command) -> Option<String> {
    let command = match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(command) if error.kind() == ErrorKind::ArgumentConflict => command,
        _ => return None,
    };
    let flags = match error.get(ContextKind::PriorArg)? {
        ContextValue::String(flag) => flag.clone(),
        ContextValue::Strings(flags) => flags.join(" "),
        _ => return None,
    };
    let is_taken = |flag: &str| {
        let flag = flag.split_whitespace().next()?.strip_prefix("--")?;
        program.find_subcommand(command)?.get_arguments().find(|arg| arg.get_long() == Some(flag))
    };
    Some(match is_taken(&flags) {
        Some(_) => format!("{flags} must follow {command}: echogate {command} … {flags}"),
        None => format!("{flags} cannot be used with {command}: it is a flag of serve"),
    })
}
