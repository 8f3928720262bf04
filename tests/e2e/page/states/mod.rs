//! The page in each of its states, reached as a user reaches them. `layout` checks each one in all
//! windows and languages, and `pictures` takes their pictures.

pub(super) mod clients;
pub(super) mod messages;
pub(super) mod sockets;

use echogate_tests::browser::Page;

use super::{choose, fill};

/// Looks at the page of a tour in a state of this name. The script opens what a change of the language closes.
pub(super) type Look<'a> = dyn FnMut(&mut Page, &str, &str) + 'a;

/// All tours.
pub(super) const TOURS: [fn(&mut Look<'_>); 9] = [
    sockets::endpoints,
    sockets::endings,
    sockets::routes,
    messages::messages,
    messages::composer,
    messages::files,
    clients::clients,
    clients::lesson,
    clients::operator,
];

/// A script that opens a `details` element.
fn open_details(selector: &str) -> String {
    format!("document.querySelector('{selector}').open = true")
}
