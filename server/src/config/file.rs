//! Settings in a file, and where in it something is wrong.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{Spanned, Table, Value};

use super::{Given, ListenerSpec, RouteSpec};

/// What the file says.
///
/// # Errors
///
/// One line that names the file, the line and what is wrong there.
pub(super) fn read(path: &Path) -> Result<Given, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    toml::from_str(&text).map_err(|e| {
        let why = e.message();
        let at = place(&text, why).or(e.span()).map_or(0, |span| span.start);
        let line = 1 + text[..at].matches('\n').count();
        format!("{name}:{line}: {}", why.replace('\n', ", "))
    })
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

/// Where it says what is wrong by `why`, if that is in one of many tables: but for keys
/// that are unknown, the library tells of them where the first begins.
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
