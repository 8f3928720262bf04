//! Settings in the environment: the flag `--max-message` has the variable `ECHOGATE_MAX_MESSAGE`.
//!
//! An empty variable counts as not set, so that `${NAME:-}` works in `docker compose`. The elements
//! of a list are separated by commas; white space around values is ignored.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, ArgAction, Command};

use super::{ConfigLayer, layer::Arguments};

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

/// Parses the settings among `variables`, and ignores other variables.
///
/// # Errors
///
/// One line that names the variable and says what is wrong with its value or its name.
pub(super) fn read(variables: &BTreeMap<OsString, OsString>) -> Result<ConfigLayer, String> {
    let mut arguments = Arguments::new();
    let flags: Vec<Arg> = arguments.flags().cloned().collect();
    let names = flags.iter().filter_map(Arg::get_long).map(variable);
    let names: Vec<String> = names.chain(["config", "log"].map(variable)).collect();
    for (name, value) in variables {
        if let Some(meant) = name.to_str().and_then(|name| misspelt(name, &names))
            && !trimmed(value).is_empty()
        {
            return Err(format!("{} is not a setting; did you mean {meant}?", name.display()));
        }
    }
    for flag in &flags {
        let name = variable(flag.get_long().expect("every setting has a long flag"));
        let Some(value) = variables.get(OsStr::new(&name)) else { continue };
        let values = split(flag, value).map_err(|why| format!("{name}: {why}"))?;
        let hint = if values.len() > 1 { " (a comma within a URL is %2C)" } else { "" };
        for value in values {
            arguments.add(flag, value).map_err(|why| format!("{name}: {why}{hint}"))?;
        }
    }
    arguments.parse()
}

/// The known name that `name` is a misspelling of; None if `name` is known, or similar to no known
/// name. Variables of the latter kind are ignored, because container images and Kubernetes set
/// `ECHOGATE_PORT` and others.
fn misspelt<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let prefix = variable("");
    let given = name.strip_prefix(&prefix)?;
    let distance = |known: &str| {
        let known = known.strip_prefix(&prefix).unwrap_or(known);
        let distance = strsim::osa_distance(given, known);
        let max = if known.len() > 5 { 2 } else { 1 };
        (distance <= max).then_some(distance)
    };
    let similar = names.iter().filter_map(|known| Some((distance(known)?, known)));
    similar.min().filter(|(distance, _)| *distance > 0).map(|(_, known)| known.as_str())
}

/// Adds `[env: VARIABLE]` to the help of each setting in `command`.
pub(crate) fn with_variables(command: Command) -> Command {
    let settings = Arguments::new();
    let is_setting = |arg: &Arg| {
        arg.get_id() == "config" || settings.flags().any(|flag| flag.get_id() == arg.get_id())
    };
    command.mut_args(|arg| match (arg.get_long(), arg.get_help()) {
        (Some(flag), Some(help)) if is_setting(&arg) => {
            let help = format!("{help} [env: {}]", variable(flag));
            arg.help(help)
        }
        _ => arg,
    })
}

/// The elements of a list; of other settings the single value. Empty if nothing is given.
fn split<'a>(flag: &Arg, value: &'a OsStr) -> Result<Vec<&'a OsStr>, String> {
    let value = trimmed(value);
    if !matches!(flag.get_action(), ArgAction::Append) {
        return Ok(if value.is_empty() { Vec::new() } else { vec![value] });
    }
    let text = value.to_str().ok_or("expected UTF-8")?;
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    Ok(elements.map(OsStr::new).collect())
}

/// A value without surrounding white space; unchanged if it is not UTF-8.
fn trimmed(value: &OsStr) -> &OsStr {
    value.to_str().map_or(value, |text| OsStr::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_get_their_variables_from_this_module_and_not_from_clap() {
        for arg in Arguments::new().flags() {
            assert!(arg.get_long().is_some(), "{arg}");
            assert_eq!(arg.get_env(), None, "{arg}");
            assert_eq!(arg.get_value_delimiter(), None, "{arg}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_distinguished_from_those_of_other_programs() {
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
    fn an_error_in_an_element_of_a_list_says_how_a_comma_is_written() {
        let read = |value: &str| read(&BTreeMap::from([("ECHOGATE_ROUTE".into(), value.into())]));
        let url = "/x=ws://127.0.0.1:1/#pass=cookie,authorization";
        let error = read(url).unwrap_err();
        assert!(error.ends_with(" (a comma within a URL is %2C)"), "{error}");
        read(&url.replace(',', "%2C")).unwrap();
        let error = read("authorization").unwrap_err();
        assert!(!error.contains("%2C"), "{error}");
    }

    #[test]
    fn a_list_is_split_at_commas_and_other_values_are_trimmed() {
        let list = Arg::new("x").long("x").action(ArgAction::Append);
        let single = Arg::new("x").long("x");
        for (flag, value, expected) in [
            (&list, "a, b", &["a", "b"][..]),
            (&list, " a,,b,", &["a", "b"]),
            (&list, " , ", &[]),
            (&list, "", &[]),
            (&single, " a, b ", &["a, b"]),
            (&single, "  ", &[]),
        ] {
            assert_eq!(split(flag, value.as_ref()).unwrap(), expected, "{value:?}");
        }
    }
}
