//! What somebody did: one set of listeners for the whole page. An element says by `data-do`
//! what it is for, and by `data-with` with what.

use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{DragEvent, Element, Event, EventTarget, File, KeyboardEvent};

use super::{app, dom};

/// What somebody did to an element that is for something.
pub(super) struct Act {
    pub(super) kind: String,
    /// What the element is for.
    pub(super) does: String,
    /// With what.
    pub(super) with: String,
    pub(super) node: Element,
    event: Event,
}

/// The page's listeners, silent when dropped.
pub(super) struct Listeners {
    _callback: Closure<dyn FnMut(Event)>,
    on: Vec<(EventTarget, &'static str)>,
}

/// What is listened to. In the capturing phase, in which scrolling passes by, too.
const KINDS: [&str; 9] =
    ["click", "input", "change", "submit", "keydown", "scroll", "dragover", "dragleave", "drop"];

/// What concerns the window.
const OF_WINDOW: [&str; 2] = ["hashchange", "resize"];

impl Listeners {
    pub(super) fn new() -> Listeners {
        let callback = Closure::new(|event: Event| {
            if let Some(act) = Act::of(event) {
                app::with(|app| app.act(&act));
            }
        });
        let document: EventTarget = dom::document().into();
        let window: EventTarget = web_sys::window().expect("a page has a window").into();
        let on: Vec<(EventTarget, &str)> = KINDS
            .map(|kind| (document.clone(), kind))
            .into_iter()
            .chain(OF_WINDOW.map(|kind| (window.clone(), kind)))
            .collect();
        for (target, kind) in &on {
            let function = callback.as_ref().unchecked_ref();
            target.add_event_listener_with_callback_and_bool(kind, function, true).ok();
        }
        Listeners { _callback: callback, on }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (target, kind) in &self.on {
            let function = self._callback.as_ref().unchecked_ref();
            target.remove_event_listener_with_callback_and_bool(kind, function, true).ok();
        }
    }
}

impl Act {
    fn of(event: Event) -> Option<Act> {
        let kind = event.type_();
        let root = || dom::document().document_element();
        let target = event.target()?.dyn_into::<Element>().ok().or_else(root)?;
        let selector = if kind.starts_with("dr") { "[data-drop]" } else { "[data-do]" };
        let node = target.closest(selector).ok().flatten();
        let (node, does) = match node {
            Some(node) => (node.clone(), node.get_attribute("data-do").unwrap_or_default()),
            None if OF_WINDOW.contains(&&*kind) => (target, kind.clone()),
            None => return None,
        };
        let with = node.get_attribute("data-with").unwrap_or_default();
        Some(Act { kind, does, with, node, event })
    }

    /// Whether this was done.
    pub(super) fn is(&self, kind: &str, does: &str) -> bool {
        self.kind == kind && self.does == does
    }

    /// Whether something was asked for: by a button, or by a form that was sent. A click
    /// somewhere in a form asks for nothing.
    pub(super) fn asks(&self, does: &str) -> bool {
        let kind = if self.node.tag_name() == "FORM" { "submit" } else { "click" };
        self.is(kind, does) && !self.is_disabled()
    }

    /// What is in the field.
    pub(super) fn value(&self) -> String {
        dom::value(&self.node)
    }

    /// The browser is not to do what it would.
    pub(super) fn handled(&self) {
        self.event.prevent_default();
    }

    /// The key that was pressed, with `Shift+` before it where that was held. Nothing while an
    /// input method is at work, or with a key that makes it a shortcut of the browser's.
    pub(super) fn key(&self) -> Option<String> {
        let event = self.event.dyn_ref::<KeyboardEvent>()?;
        let others =
            event.ctrl_key() || event.alt_key() || event.meta_key() || event.is_composing();
        let shift = if event.shift_key() { "Shift+" } else { "" };
        (!others).then(|| format!("{shift}{}", event.key()))
    }

    /// The file that is dropped; or, while it is over the page, whether there is one.
    pub(super) fn has_file(&self) -> bool {
        self.transfer().is_some_and(|transfer| transfer.types().includes(&"Files".into(), 0))
    }

    pub(super) fn file(&self) -> Option<File> {
        self.transfer()?.files()?.get(0)
    }

    fn transfer(&self) -> Option<web_sys::DataTransfer> {
        self.event.dyn_ref::<DragEvent>()?.data_transfer()
    }

    fn is_disabled(&self) -> bool {
        self.node.get_attribute("aria-disabled").as_deref() == Some("true")
    }
}
