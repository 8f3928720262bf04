//! Settings in the environment: each flag has a variable, `ECHOGATE_` and its name.
//!
//! An empty variable is one that was not given, as in `docker compose`'s `${NAME:-}`. The
//! elements of a list are separated by commas; white space around values is ignored.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, ArgAction, Args, Command, FromArgMatches, error::ContextKind};

use super::Given;
use crate::text::escape::escape;

/// The variable of the flag `--flag`.
pub(super) fn variable(flag: &str) -> String {
    format!("ECHOGATE_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// The path of the settings file.
pub(super) fn config() -> Option<PathBuf> {
    let value = env::var_os(variable("config"))?;
    let value = trimmed(&value);
    (!value.is_empty()).then(|| value.into())
}

/// Reads the settings of these variables, of which others are left alone.
///
/// # Errors
///
/// One line that names the variable and what is wrong with its value, or with its name.
pub(super) fn read(variables: &BTreeMap<OsString, OsString>) -> Result<Given, String> {
    let command = command();
    let names = command.get_arguments().filter_map(Arg::get_long).map(variable);
    let names: Vec<String> = names.chain(["config", "log"].map(variable)).collect();
    for (name, value) in variables {
        if let Some(meant) = name.to_str().and_then(|name| misspelt(name, &names))
            && !trimmed(value).is_empty()
        {
            return Err(format!("{} is no setting: did you mean {meant}?", name.display()));
        }
    }
    let mut all = Vec::new();
    for arg in command.get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        let name = variable(flag);
        let Some(value) = variables.get(OsStr::new(&name)) else { continue };
        let arguments = arguments(arg, flag, value).map_err(|why| format!("{name}: {why}"))?;
        // Each variable by itself: an error is known to be of its value.
        command.clone().try_get_matches_from(&arguments).map_err(|e| complaint(&name, &e))?;
        all.extend(arguments);
    }
    let matches = command.try_get_matches_from(all).map_err(|e| e.to_string())?;
    Given::from_arg_matches(&matches).map_err(|e| e.to_string())
}

/// Which of `names` was meant by a variable that is none of them but very like one. Others that
/// begin with `ECHOGATE_` may be of other programs: images and Kubernetes set such.
fn misspelt<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let prefix = variable("");
    let given = name.strip_prefix(&prefix)?;
    let slips = |known: &str| {
        let known = known.strip_prefix(&prefix).unwrap_or(known);
        let slips = strsim::osa_distance(given, known);
        let most = if known.len() > 5 { 2 } else { 1 };
        (slips <= most).then_some(slips)
    };
    let alike = names.iter().filter_map(|known| slips(known).map(|slips| (slips, known)));
    alike.min().filter(|(slips, _)| *slips > 0).map(|(_, known)| known.as_str())
}

/// Adds to the help of each setting in `command` the variable that gives it, too.
pub(crate) fn with_variables(command: Command) -> Command {
    let settings = self::command();
    let is_setting = |arg: &Arg| {
        arg.get_id() == "config" || settings.get_arguments().any(|own| own.get_id() == arg.get_id())
    };
    command.mut_args(|arg| match (arg.get_long(), arg.get_help()) {
        (Some(flag), Some(help)) if is_setting(&arg) => {
            let help = format!("{help} [env: {}]", variable(flag));
            arg.help(help)
        }
        _ => arg,
    })
}

fn command() -> Command {
    let command = Command::new("environment").no_binary_name(true);
    Given::augment_args(command.disable_help_flag(true))
}

/// The arguments that say the same as `value` in the variable of `arg`.
fn arguments(arg: &Arg, flag: &str, value: &OsStr) -> Result<Vec<OsString>, String> {
    let value = trimmed(value);
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let argument = |value: &OsStr| {
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(value);
        argument
    };
    match arg.get_action() {
        ArgAction::Append => {
            let text = value.to_str().ok_or("expected UTF-8")?;
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            Ok(elements.map(|element| argument(element.as_ref())).collect())
        }
        ArgAction::SetTrue => match value.to_str() {
            Some("true") => Ok(vec![format!("--{flag}").into()]),
            Some("false") => Ok(Vec::new()),
            _ => Err(format!("{value:?}: expected true or false")),
        },
        _ => Ok(vec![argument(value)]),
    }
}

/// A value without white space around it, as far as it is text.
fn trimmed(value: &OsStr) -> &OsStr {
    value.to_str().map_or(value, |text| OsStr::new(text.trim()))
}

/// What is wrong with the value of a variable, in one line and without the name of a flag.
fn complaint(name: &str, error: &clap::Error) -> String {
    let why = std::error::Error::source(error)
        .map_or_else(|| error.kind().to_string(), ToString::to_string);
    match error.get(ContextKind::InvalidValue) {
        Some(value) => {
            let value = escape(&value.to_string());
            format!("invalid value '{value}' for {name}: {why}")
        }
        None => format!("{name}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_variable_from_here_and_none_from_the_parser() {
        for arg in command().get_arguments() {
            assert!(arg.get_long().is_some(), "{arg}");
            assert_eq!(arg.get_env(), None, "{arg}");
            assert_eq!(arg.get_value_delimiter(), None, "{arg}");
        }
    }

    #[test]
    fn a_slip_in_a_name_is_told_from_the_variables_of_others() {
        let names = ["http", "log", "route", "max-connections", "listen"].map(variable);
        for (given, meant) in [
            ("ECHOGATE_HTTP", None),
            ("ECHOGATE_HTPP", Some("ECHOGATE_HTTP")),
            ("ECHOGATE_ROUTES", Some("ECHOGATE_ROUTE")),
            ("ECHOGATE_MAX_CONECTIONS", Some("ECHOGATE_MAX_CONNECTIONS")),
            ("ECHOGATE_LISTENER", Some("ECHOGATE_LISTEN")),
            ("ECHOGATE_VERSION", None),
            ("ECHOGATE_PORT", None),
            ("ECHOGATE_SERVICE_HOST", None),
            ("ECHOGATE_PORT_8080_TCP", None),
            ("HTPP", None),
            ("HTTP", None),
        ] {
            assert_eq!(misspelt(given, &names), meant, "{given}");
        }
    }

    #[test]
    fn a_variable_is_split_into_the_arguments_that_say_the_same() {
        let list = Arg::new("x").long("x").action(ArgAction::Append);
        let switch = Arg::new("x").long("x").action(ArgAction::SetTrue);
        let single = Arg::new("x").long("x");
        for (arg, value, expected) in [
            (&list, "a, b", Ok(&["--x=a", "--x=b"][..])),
            (&list, " a,,b,", Ok(&["--x=a", "--x=b"])),
            (&list, " , ", Ok(&[])),
            (&list, "", Ok(&[])),
            (&single, " a, b ", Ok(&["--x=a, b"])),
            (&single, "  ", Ok(&[])),
            (&switch, "true", Ok(&["--x"])),
            (&switch, "false", Ok(&[])),
            (&switch, "", Ok(&[])),
            (&switch, "yes", Err("\"yes\": expected true or false")),
        ] {
            let got = arguments(arg, "x", value.as_ref());
            let expected = match expected {
                Ok(all) => Ok(all.iter().map(OsString::from).collect()),
                Err(why) => Err(why.to_owned()),
            };
            assert_eq!(got, expected, "{value:?}");
        }
    }
}
