//! The settings file (TOML): its values, and the line of each.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction};
use serde::Deserialize;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    ConfigLayer, ForwardSpec, ListenerSpec, RouteSpec, layer::Arguments, values::SpecError,
};
use crate::text::{escape::escape, io_error, suggest::suggestion};

/// The lines on which the settings of a file are given.
#[derive(Debug, Default)]
pub(super) struct Lines {
    path: PathBuf,
    /// For each key the line of its value, or of each element of a list.
    lines: BTreeMap<String, Vec<usize>>,
}

impl Lines {
    /// `FILE:LINE` of the value of `key`, or of its element `index`.
    pub(super) fn location(&self, key: &str, index: usize) -> String {
        let path = self.path.display();
        match self.lines.get(key).and_then(|lines| lines.get(index)) {
            Some(line) => format!("{path}:{line}"),
            None => path.to_string(),
        }
    }
}

/// An error, and the byte of the file at which it is.
struct Located {
    at: usize,
    why: String,
}

impl Located {
    fn new<T>(at: &Spanned<T>, why: impl Into<String>) -> Located {
        Located { at: at.span().start, why: why.into() }
    }
}

/// Reads the settings file at `path`, and the line of each setting. `name` is the flag or the
/// variable that gives the path.
///
/// # Errors
///
/// One line that names the file, the line and the key, and says what is wrong.
pub(super) fn read(path: &Path, name: &str) -> Result<(Lines, ConfigLayer), String> {
    let text = io_error::read_text(path).map_err(|why| format!("{name}: {why}"))?;
    parse_text(path, &text)
}

/// Parses the settings in `text`, the content of the file at `path`.
///
/// # Errors
///
/// As [`read`].
pub(super) fn parse_text(path: &Path, text: &str) -> Result<(Lines, ConfigLayer), String> {
    let name = path.display();
    let line = |at: usize| 1 + text[..at].matches('\n').count();
    let failed = |Located { at, why }| format!("{name}:{}: {}", line(at), escape(&why));
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        failed(Located { at, why: e.message().replace('\n', ", ") })
    })?;
    let layer = parse(table.get_ref()).map_err(failed)?;
    let lines = table.get_ref().iter().map(|(key, value)| {
        let starts = elements(value).iter().map(|element| line(element.span().start));
        (key.get_ref().to_string(), starts.collect())
    });
    Ok((Lines { path: path.to_owned(), lines: lines.collect() }, layer))
}

/// The elements of a list that is not empty; any other value as one element.
fn elements<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> &'a [Spanned<DeValue<'i>>] {
    match value.get_ref() {
        DeValue::Array(elements) if !elements.is_empty() => elements,
        _ => std::slice::from_ref(value),
    }
}

fn parse(table: &DeTable<'_>) -> Result<ConfigLayer, Located> {
    let mut arguments = Arguments::new();
    let flags: Vec<Arg> = arguments.flags().cloned().collect();
    let (mut listen, mut route, mut forward) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in table {
        let name: &str = key.get_ref();
        let in_key = |error: Located| Located { why: format!("{name}: {}", error.why), ..error };
        let flag = flags.iter().find(|flag| flag.get_long() == Some(name) && name != "listen");
        match (name, flag) {
            ("listener", _) => {
                listen = tables(value, ["service", "url"], ListenerSpec::new).map_err(in_key)?;
            }
            ("route", _) => {
                route = tables(value, ["path", "url"], RouteSpec::new).map_err(in_key)?;
            }
            ("forward", _) => {
                forward = tables(value, ["listen", "url"], ForwardSpec::new).map_err(in_key)?;
            }
            (_, Some(flag)) => add(&mut arguments, flag, value).map_err(in_key)?,
            (_, None) => {
                let flags = flags.iter().filter_map(Arg::get_long);
                let known = flags.filter(|flag| *flag != "listen").chain(["listener"]);
                let suggestion = suggestion(name, known);
                return Err(Located::new(key, format!("unknown setting \"{name}\"{suggestion}")));
            }
        }
    }
    let layer = arguments.parse().map_err(|why| Located { at: 0, why })?;
    Ok(ConfigLayer { listen, route, forward, ..layer })
}

/// Adds the value of a key, or the elements of its list, to the arguments.
fn add(arguments: &mut Arguments, flag: &Arg, value: &Spanned<DeValue<'_>>) -> Result<(), Located> {
    match (flag.get_action(), value.get_ref()) {
        (ArgAction::Append, DeValue::Array(list)) if list.is_empty() => {
            return Err(Located::new(value, "empty list: remove the key to use the default"));
        }
        (ArgAction::Append, DeValue::Array(_)) => {}
        (ArgAction::Append, other) => {
            let why = format!("expected a list of strings, found {}", other.type_str());
            return Err(Located::new(value, why));
        }
        (_, DeValue::Array(_)) => {
            return Err(Located::new(value, "expected a single value, found array"));
        }
        _ => {}
    }
    let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
    for element in elements(value) {
        let deserializer = ValueDeserializer::from(element.clone());
        let text = match Value::deserialize(deserializer) {
            Ok(Value::String(text)) if text.is_empty() && !is_switch => {
                return Err(Located::new(element, "empty value: remove it to use the default"));
            }
            Ok(Value::String(text)) if !is_switch => text,
            Ok(Value::Integer(number)) if !is_switch => number.to_string(),
            Ok(Value::Float(number)) if !is_switch => number.to_string(),
            Ok(Value::Boolean(value)) if is_switch => value.to_string(),
            Ok(other) => {
                let expected = if is_switch { "true or false" } else { "a string or a number" };
                let why = format!("expected {expected}, found {}", other.type_str());
                return Err(Located::new(element, why));
            }
            Err(e) => return Err(Located::new(element, e.message())),
        };
        arguments.add(flag, OsStr::new(&text)).map_err(|why| Located::new(element, why))?;
    }
    Ok(())
}

/// Parses the tables of `[[listener]]`, `[[route]]` or `[[forward]]`, each with these two keys.
fn tables<T>(
    value: &Spanned<DeValue<'_>>,
    keys: [&str; 2],
    new: fn(&str, &str) -> Result<T, SpecError>,
) -> Result<Vec<T>, Located> {
    let parse = |table| {
        let [(name_at, name), (url_at, url)] = strings(table, keys)?;
        new(name, url).map_err(|error| match error {
            SpecError::Name(why) => Located { at: name_at, why },
            SpecError::Url(why) => Located { at: url_at, why },
        })
    };
    match value.get_ref() {
        DeValue::Array(tables) if tables.is_empty() => {
            Err(Located::new(value, "empty list: remove the key to use the default"))
        }
        DeValue::Array(tables) => tables.iter().map(parse).collect(),
        other => {
            let why = format!("expected a list of tables, found {}", other.type_str());
            Err(Located::new(value, why))
        }
    }
}

/// The values of two keys, the only ones of a table, each with its position.
fn strings<'a>(
    table: &'a Spanned<DeValue<'_>>,
    keys: [&str; 2],
) -> Result<[(usize, &'a str); 2], Located> {
    let Some(entries) = table.get_ref().as_table() else {
        let why = format!("expected a table, found {}", table.get_ref().type_str());
        return Err(Located::new(table, why));
    };
    if let Some((unknown, _)) = entries.iter().find(|(key, _)| !keys.contains(&&**key.get_ref())) {
        let [one, other] = keys;
        let why = format!("unknown key \"{}\": expected {one} and {other}", unknown.get_ref());
        return Err(Located::new(unknown, why));
    }
    let string = |key: &str| {
        let Some(value) = entries.get(key) else {
            return Err(Located::new(table, format!("the key {key} is missing")));
        };
        let text = value.get_ref().as_str().ok_or_else(|| {
            let why = format!("{key}: expected a string, found {}", value.get_ref().type_str());
            Located::new(value, why)
        })?;
        Ok((value.span().start, text))
    };
    let [first, second] = keys;
    Ok([string(first)?, string(second)?])
}
