//! Errors of the command line, as one line each.

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::text::{credentials::without_secrets, suggest::is_similar};

/// The error and its tips, joined into one line. `program` is the whole command line.
pub(super) fn one_line(mut error: clap::Error, program: &Command) -> String {
    if let Some(line) = misplaced_flags(&error, program) {
        return line;
    }
    for (wrong, suggested) in [
        (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        (ContextKind::InvalidValue, ContextKind::SuggestedValue),
    ] {
        keep_similar(&mut error, wrong, suggested);
    }
    hide_secrets(&mut error);
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

/// Removes what may be a secret from an invalid value.
fn hide_secrets(error: &mut clap::Error) {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return };
    let arg = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let shown = match value.find([':', ' ']) {
        Some(name) if arg.starts_with("--header") => format!("{}…", &value[..=name]),
        _ => without_secrets(value),
    };
    error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
}

/// Removes suggestions of words that are not similar to the wrong one.
fn keep_similar(error: &mut clap::Error, wrong: ContextKind, suggested: ContextKind) {
    let Some(ContextValue::String(word)) = error.get(wrong).cloned() else { return };
    let similar: Vec<_> = match error.remove(suggested) {
        Some(ContextValue::String(known)) => vec![known],
        Some(ContextValue::Strings(known)) => known,
        _ => return,
    };
    let similar: Vec<_> = similar.into_iter().filter(|known| is_similar(&word, known)).collect();
    if !similar.is_empty() {
        error.insert(suggested, ContextValue::Strings(similar));
    }
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
