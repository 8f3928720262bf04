//! JSON as a tree whose objects and arrays can be folded.

use super::dom::{El, el, text};
use crate::{
    format,
    i18n::{Texts, fill},
    json::{Json, quote},
};

/// The most values that are drawn.
const MAX_VALUES: usize = 5000;

/// The tree of a value.
pub(super) fn tree(value: &Json, texts: &Texts) -> El {
    let mut left = MAX_VALUES;
    let root = el("div").class("json").attr("tabindex", "0");
    node(&root, "", value, &mut left);
    if left == 0 {
        let cut = fill(texts.first_values, &[&format::grouped(MAX_VALUES as u64)]);
        root.append(&text("p", &cut).class("details"));
    }
    root
}

/// Appends a value, after its name if it is a member.
fn node(parent: &El, name: &str, value: &Json, left: &mut usize) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    let ([open, close], children) = match value {
        Json::Object(members) if !members.is_empty() => {
            let children = members.iter().map(|(name, value)| (quoted(name) + ": ", value));
            (["{", "}"], children.collect::<Vec<_>>())
        }
        Json::List(values) if !values.is_empty() => {
            (["[", "]"], values.iter().map(|value| (String::new(), value)).collect())
        }
        _ => {
            let leaf = el("div").child(&text("span", name).class("name"));
            return parent.append(&leaf.child(&text("span", &written(value)).class(kind(value))));
        }
    };
    let count = text("span", &children.len().to_string()).class("count");
    let summary = el("summary").child(&text("span", name).class("name")).plain_text(open);
    let folded = el("details").attr("open", "").child(&summary.child(&count));
    let inside = el("div").class("inside");
    for (name, value) in children {
        node(&inside, &name, value, left);
    }
    parent.append(&folded.child(&inside).plain_text(close));
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quote(text, &mut quoted);
    format::escaped(&quoted)
}

fn written(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(is) => is.to_string(),
        Json::Number(_, written) => written.to_string(),
        Json::Text(text) => quoted(text),
        Json::List(_) => "[]".to_owned(),
        Json::Object(_) => "{}".to_owned(),
    }
}

/// The class of a value without others in it.
fn kind(value: &Json) -> &'static str {
    if matches!(value, Json::Text(_)) { "string" } else { "literal" }
}
