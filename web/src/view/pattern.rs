//! Regular expressions of the browser.

use js_sys::Array;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::search::Find;

/// The hits of a regular expression (ECMAScript, with the flags `i` and `u`); the error is the
/// browser's message.
pub(super) fn compile(source: &str) -> Result<Box<Find>, String> {
    let pattern = Pattern::new(source, "giu").map_err(|error| String::from(error.message()))?;
    Ok(Box::new(move |text, most| {
        pattern.set_last_index(0);
        let mut hits = Vec::new();
        // Positions in JavaScript count UTF-16 code units.
        let (mut at, mut unit) = (0, 0);
        let mut advance_to = |wanted: u32| {
            let rest = text.get(at..).unwrap_or_default().chars();
            for c in rest {
                if unit >= wanted {
                    break;
                }
                unit += c.len_utf16() as u32;
                at += c.len_utf8();
            }
            at
        };
        while hits.len() < most
            && let Some(found) = pattern.exec(text)
        {
            let length = found.get(0).as_string().map_or(0, |hit| hit.len());
            let end = pattern.last_index();
            if length == 0 {
                pattern.set_last_index(end + 1);
                if hits.is_empty() && most == 1 {
                    hits.push(0..0);
                }
                continue;
            }
            let end = advance_to(end);
            hits.push(end - length..end);
        }
        hits
    }))
}

#[wasm_bindgen]
extern "C" {
    /// A regular expression, whose constructor may throw.
    #[wasm_bindgen(js_name = RegExp)]
    type Pattern;
    #[wasm_bindgen(constructor, js_class = "RegExp", catch)]
    fn new(source: &str, flags: &str) -> Result<Pattern, js_sys::Error>;
    #[wasm_bindgen(method)]
    fn exec(this: &Pattern, text: &str) -> Option<Array>;
    #[wasm_bindgen(method, getter = lastIndex)]
    fn last_index(this: &Pattern) -> u32;
    #[wasm_bindgen(method, setter = lastIndex)]
    fn set_last_index(this: &Pattern, index: u32);
}
