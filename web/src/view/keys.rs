//! The keys of the message field.

use wasm_bindgen::JsCast as _;
use web_sys::HtmlTextAreaElement;

use super::{command::Command, connection::Connection, user_event::UserEvent};
use crate::i18n::Texts;

/// Enter sends; the arrow keys recall sent messages, from the first and last line of the field.
pub(super) fn on_key(
    connection: &mut Connection,
    event: &UserEvent,
    texts: &Texts,
) -> Option<Command> {
    let key = event.key()?;
    let field = event.node.dyn_ref::<HtmlTextAreaElement>()?;
    let caret = field.selection_start().ok().flatten().unwrap_or(0) as usize;
    // The caret counts UTF-16 units.
    let units: Vec<u16> = field.value().encode_utf16().collect();
    let (before, after) = units.split_at(caret.min(units.len()));
    let has_line_break = |units: &[u16]| units.contains(&u16::from(b'\n'));
    let compose = &mut connection.compose;
    let recalled = match &*key {
        "Enter" => {
            event.prevent_default();
            if compose.is_nothing() {
                return Some(Command::Draw);
            }
            return Some(connection.send_or_connect(texts));
        }
        "ArrowUp" if !has_line_break(before) => {
            compose.history.borrow_mut().older(compose.draft.clone())
        }
        "ArrowDown" if !has_line_break(after) => compose.history.borrow_mut().newer(),
        _ => return None,
    };
    if let Some(draft) = recalled {
        event.prevent_default();
        compose.draft = draft;
        compose.template = None;
    }
    Some(Command::Draw)
}
