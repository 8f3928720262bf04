//! The keys of the field that messages are written in.

use wasm_bindgen::JsCast as _;
use web_sys::HtmlTextAreaElement;

use super::{act::Act, composer::send, wire::Wire};
use crate::words::Words;

/// Enter sends; the arrows go through what was sent before, from the first and last line.
pub(super) fn key(wire: &mut Wire, act: &Act, words: &Words) -> bool {
    let Some(key) = act.key() else { return false };
    let Some(field) = act.node.dyn_ref::<HtmlTextAreaElement>() else { return false };
    let caret = field.selection_start().ok().flatten().unwrap_or(0) as usize;
    let text = field.value();
    // The caret counts in UTF-16.
    let breaks = |units: &[u16]| units.contains(&u16::from(b'\n'));
    let units: Vec<u16> = text.encode_utf16().collect();
    let caret = caret.min(units.len());
    let compose = &mut wire.compose;
    let found = match &*key {
        "Enter" => {
            act.handled();
            if !compose.draft.text.is_empty() {
                send(wire, words);
            }
            return true;
        }
        "ArrowUp" if !breaks(&units[..caret]) => compose.history.older(compose.draft.clone()),
        "ArrowDown" if !breaks(&units[caret..]) => compose.history.newer(),
        _ => return false,
    };
    if let Some(draft) = found {
        act.handled();
        compose.draft = draft;
        compose.template = None;
    }
    true
}
