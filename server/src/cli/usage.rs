//! Errors of the command line, as one line each.

use std::ffi::OsString;

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
    let (unknown, command) = (unknown(&error), command(program, std::env::args_os()));
    let equivalent = unknown.as_deref().and_then(|word| equivalent(command.as_deref(), word));
    if equivalent.is_some() {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
    }
    // The tip "to pass '-p' as a value, use '-- -p'" does not help: no argument begins with a dash.
    error.remove(ContextKind::Suggested);
    let has_suggestion = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .into_iter()
        .any(|suggested| error.get(suggested).is_some());
    hide_secrets(&mut error);
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    if line.ends_with(':') {
        // clap lists missing arguments from the next line on.
        line.push(' ');
        line.push_str(lines.next().unwrap_or_default());
    }
    for more in lines {
        if let Some(tip) = more.strip_prefix("tip: ") {
            line.push_str(&format!("; {tip}"));
        } else if more.starts_with("[possible values: ") {
            line.push_str(&format!(" {more}"));
        }
    }
    if let Some(equivalent) = equivalent {
        line.push_str(&format!(": {equivalent}"));
    } else if unknown.is_some() && !has_suggestion {
        let command = command.map(|it| format!(" {it}")).unwrap_or_default();
        line.push_str(&format!(" (echogate{command} --help)"));
    }
    line
}

/// The command among the arguments: the first word that names a command.
fn command(program: &Command, arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
    let mut words = arguments.into_iter().skip(1).filter_map(|word| word.into_string().ok());
    words.find(|word| program.find_subcommand(word).is_some())
}

/// The unknown flag or command.
fn unknown(error: &clap::Error) -> Option<String> {
    let wrong = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    match error.get(wrong)? {
        ContextValue::String(word) => Some(word.clone()),
        _ => None,
    }
}

/// The equivalents of flags and commands of nc, ncat, socat, websocat, wscat and curl.
const EQUIVALENTS: [(&[&str], &str); 17] = [
    (&["-l", "--listen"], "echogate listen [HOST:]PORT waits for a client"),
    (&["-p"], "the port is an argument: HOST PORT, or PORT"),
    (&["-u", "--udp"], "use udp://HOST:PORT; to log in, a ws:// URL with user name and password"),
    (&["-U", "--unixsock"], "use unix:///PATH"),
    (&["-N"], "not needed: over TCP the end of the input half-closes the connection"),
    (&["-w", "--idle-timeout"], "use --wait TIME"),
    (&["-z"], "use echogate connect --wait 0s HOST PORT </dev/null"),
    (&["-c", "--connect"], "the URL is an argument: echogate connect URL"),
    (&["-x", "--execute"], "use --message TEXT, or --proxy URL"),
    (&["-s"], "use --source ADDRESS"),
    (&["-C"], "use --crlf"),
    (&["-P", "--password", "--auth"], "use a ws:// URL with user name and password"),
    (&["-1", "--one-message"], "use --count 1"),
    (&["-d"], "use --message TEXT"),
    (&["--cacert"], "use --ca FILE"),
    (&["--connect-timeout"], "not adjustable: an attempt to connect ends after 10 s"),
    (&["-v", "version"], "use --version"),
];

/// The equivalent of `word`, a flag or command of another program that was given to `command` of
/// this one.
fn equivalent(command: Option<&str>, word: &str) -> Option<&'static str> {
    // A flag with its value, as `--cacert=FILE`.
    let flag = word.split('=').next().unwrap_or(word);
    let is_meant = match flag {
        "-l" | "--listen" => matches!(command, None | Some("connect")),
        "-v" | "version" => command.is_none(),
        _ => matches!(command, Some("connect" | "listen")),
    };
    if !is_meant {
        return None;
    }
    EQUIVALENTS.iter().find(|(words, _)| words.contains(&flag)).map(|(_, equivalent)| *equivalent)
}

/// Removes possible secrets from an invalid value.
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

/// The error for flags before a command: their place is after it, if the command takes them.
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
        None => format!("{flags} cannot be used with {command}: only serve takes it"),
    })
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn the_command_is_found_among_words_that_are_no_text() {
        let program = Command::new("echogate").subcommand(Command::new("connect"));
        let arguments = [&b"echogate"[..], b"\xff", b"-x", b"connect"];
        let found = command(&program, arguments.map(|word| OsStr::from_bytes(word).to_owned()));
        assert_eq!(found.as_deref(), Some("connect"));
    }
}
