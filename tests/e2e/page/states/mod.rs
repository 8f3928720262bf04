//! The page in each of its states, reached as a user reaches them. `layout` checks each one in all
//! windows and languages, and `pictures` takes their pictures.

pub(super) mod clients;
pub(super) mod messages;
pub(super) mod sockets;

use echogate_tests::browser::Page;

use super::{choose, fill};

/// A function that inspects a page in the state of this name. The script opens the elements that a change
/// of the language closes.
pub(super) type Look<'a> = dyn FnMut(&mut Page, &str, &str) + 'a;

/// Chooses the language of the page.
pub(super) fn set_language(page: &mut Page, language: &str) {
    // A field that is being edited reports its change when it is removed.
    page.eval("document.querySelector('#language').focus()");
    choose(page, "#language", language);
    page.wait_for(&format!("document.documentElement.lang === '{language}'"));
}

/// A script that opens a `details` element.
fn open_details(selector: &str) -> String {
    format!("document.querySelector('{selector}').open = true")
}
