//! Settings in a file, and where in it something is wrong.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{Given, ListenerSpec, RouteSpec};
use crate::text::escape::escape;

/// The lines on which the settings of a file stand.
#[derive(Debug, Default)]
pub(super) struct Lines {
    path: PathBuf,
    /// Of each key: the line of its value, or those of the elements of a list.
    lines: BTreeMap<String, Vec<usize>>,
}

impl Lines {
    /// Where the value of `key` stands, or its element `index`: file and line.
    pub(super) fn place(&self, key: &str, index: usize) -> String {
        let path = self.path.display();
        match self.lines.get(key).and_then(|lines| lines.get(index)) {
            Some(line) => format!("{path}:{line}"),
            None => path.to_string(),
        }
    }
}

/// Reads the settings of a file, and on which lines they stand.
///
/// # Errors
///
/// One line that names the file, the line, the key and what is wrong there.
pub(super) fn read(path: &Path) -> Result<(Lines, Given), String> {
    let text = fs::read_to_string(path)
        .map_err(|e| format!("{}: {}", path.display(), crate::text::io_error::describe(&e)))?;
    parse(path, &text)
}

/// Parses the settings that `text`, the content of the file at `path`, gives.
///
/// # Errors
///
/// As [`read`].
pub(super) fn parse(path: &Path, text: &str) -> Result<(Lines, Given), String> {
    let name = path.display();
    let given = toml::from_str(text).map_err(|e| {
        let why = e.message();
        let at = place(text, why).or(e.span()).map_or(0, |span| span.start);
        let (key, at) = match key_at(text, at) {
            Some(key) if !why.starts_with("unknown field") => {
                (format!("{}: ", key.name), key.element_in(why).unwrap_or(at))
            }
            _ => (String::new(), at),
        };
        format!("{name}:{}: {key}{}", line(text, at), escape(&why.replace('\n', ", ")))
    })?;
    let lines = keys(text).into_iter().map(|key| {
        let starts = key.elements.iter().map(|(start, _)| *start);
        let starts = if key.elements.is_empty() { vec![key.start] } else { starts.collect() };
        (key.name, starts.into_iter().map(|start| line(text, start)).collect())
    });
    Ok((Lines { path: path.to_owned(), lines: lines.collect() }, given))
}

fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// A key of the file, and where its value stands.
struct Key {
    name: String,
    /// Where the value begins.
    start: usize,
    /// Of a list: where each element begins, and its text if it is a string.
    elements: Vec<(usize, Option<String>)>,
}

impl Key {
    /// Where the element begins that an error names.
    fn element_in(&self, why: &str) -> Option<usize> {
        let is_named = |text: &String| why.contains(&format!("\"{}\"", escape(text)));
        let mut elements = self.elements.iter();
        elements.find(|(_, text)| text.as_ref().is_some_and(is_named)).map(|(start, _)| *start)
    }
}

/// The keys of a file; none where it is no TOML, of which an error has no key.
fn keys(text: &str) -> Vec<Key> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let element = |value: &Spanned<DeValue<'_>>| {
        (value.span().start, value.get_ref().as_str().map(str::to_owned))
    };
    let keys = table.get_ref().iter().map(|(name, value)| Key {
        name: name.get_ref().to_string(),
        start: value.span().start,
        elements: match value.get_ref() {
            DeValue::Array(elements) => elements.iter().map(element).collect(),
            _ => Vec::new(),
        },
    });
    keys.collect()
}

/// The key to whose value the byte at `at` belongs: the last one of which a part begins
/// before it.
fn key_at(text: &str, at: usize) -> Option<Key> {
    let last_start = |key: &Key| {
        let starts = key.elements.iter().map(|(start, _)| *start).chain([key.start]);
        starts.filter(|start| *start <= at).max()
    };
    keys(text).into_iter().filter(|key| last_start(key).is_some()).max_by_key(last_start)
}

/// The tables that there may be many of, as they are written.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    listener: Vec<Written>,
    #[serde(default)]
    route: Vec<Written>,
}

type Written = Spanned<BTreeMap<String, Spanned<Value>>>;

/// Where the error `why` is, if it is in a listener or a route: except for unknown keys, the
/// library reports such an error at the first of these tables.
fn place(text: &str, why: &str) -> Option<Range<usize>> {
    if why.starts_with("unknown field") {
        return None;
    }
    let Tables { listener, route } = toml::from_str(text).ok()?;
    let listener = listener.into_iter().find(|table| is_wrong::<ListenerSpec>(table, why));
    let route = || route.into_iter().find(|table| is_wrong::<RouteSpec>(table, why));
    let table = listener.or_else(route)?;
    let is_named = |value: &&Spanned<Value>| {
        value.as_ref().as_str().is_some_and(|text| text.len() > 1 && why.contains(text))
    };
    let values = table.as_ref();
    let url = values.get("url");
    let value = url.filter(is_named).or_else(|| values.values().find(is_named)).or(url);
    Some(value.map_or(table.span(), Spanned::span))
}

fn is_wrong<T: DeserializeOwned>(table: &Written, why: &str) -> bool {
    let values = table.as_ref().iter().map(|(key, value)| (key.clone(), value.as_ref().clone()));
    T::deserialize(values.collect::<Table>()).is_err_and(|e| e.message() == why)
}
