//! The user's events: one set of listeners for the whole page, which finds the action of the
//! element in `data-action`, and its argument in `data-argument`.

use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{DragEvent, Element, Event, EventTarget, File, KeyboardEvent, MouseEvent};

use super::{action::Action, dom};

/// An action of the user, and the element and event by which it came.
pub(super) struct UserEvent {
    pub(super) action: Action,
    pub(super) argument: String,
    pub(super) node: Element,
    event: Event,
}

/// The page's listeners, which have to live as long as the page.
pub(super) struct Listeners {
    _callbacks: [Listener; 3],
}

/// A listener may be called while it runs: a field that loses the focus reports its change at once.
type Listener = Closure<dyn Fn(Event)>;

/// The events of the document, listened to in the capturing phase, in which scroll events pass.
const EVENTS: [&str; 9] =
    ["click", "input", "change", "submit", "keydown", "scroll", "dragover", "dragleave", "drop"];

/// The event of the window after a change of the page's fragment.
pub(super) const HASH_CHANGE: &str = "hashchange";

/// The events of the window after which the page is drawn again, and its settings are stored.
const WINDOW_EVENTS: [&str; 3] = [HASH_CHANGE, "resize", "pagehide"];

impl Listeners {
    /// The browser asks the user before the page is left if that would lose something.
    pub(super) fn new(
        on_user: fn(&UserEvent),
        on_window: fn(&str),
        is_lost_by_leaving: fn() -> bool,
    ) -> Listeners {
        let user = Closure::new(move |event: Event| {
            if let Some(event) = UserEvent::of(event) {
                on_user(&event);
            }
        });
        let window = Closure::new(move |event: Event| on_window(&event.type_()));
        let leaving = Closure::new(move |event: Event| {
            if is_lost_by_leaving() {
                event.prevent_default();
            }
        });
        listen(&dom::document().into(), &EVENTS, &user);
        let target = web_sys::window().expect("a page has a window").into();
        listen(&target, &WINDOW_EVENTS, &window);
        listen(&target, &["beforeunload"], &leaving);
        Listeners { _callbacks: [user, window, leaving] }
    }
}

fn listen(target: &EventTarget, events: &[&str], callback: &Listener) {
    for event in events {
        let function = callback.as_ref().unchecked_ref();
        target.add_event_listener_with_callback_and_bool(event, function, true).ok();
    }
}

impl UserEvent {
    /// The user's action that an event means, if any. A click on a disabled control means none.
    fn of(event: Event) -> Option<UserEvent> {
        let kind = event.type_();
        let target = event.target()?.dyn_into::<Element>().ok()?;
        if kind == "click" {
            dom::close_menus_outside(&target);
            if opens_elsewhere(&event, &target) {
                return None;
            }
        }
        // Escape closes the innermost menu alone: an opened row around it stays open.
        let is_escape = kind == "keydown" && key(&event).as_deref() == Some("Escape");
        if is_escape && dom::close_menu(&target) {
            return None;
        }
        let is_drag = kind.starts_with("dr");
        let selector = if is_drag { "[data-drop]" } else { "[data-action]" };
        let found = target.closest(selector).ok().flatten();
        if is_drag && found.is_none() && has_file(&event) {
            // A browser opens a file that is dropped elsewhere, in place of the page.
            event.prevent_default();
        }
        let mut node = found?;
        // An element may have an action for this event though one within it has others.
        let action = loop {
            let name =
                if is_drag { Some("drop".to_owned()) } else { node.get_attribute("data-action") };
            if let Some(action) = name.and_then(|name| Action::of(&name, &kind)) {
                break action;
            }
            node = node.parent_element()?.closest(selector).ok().flatten()?;
        };
        if kind == "click" && node.get_attribute("aria-disabled").as_deref() == Some("true") {
            return None;
        }
        let argument = node.get_attribute("data-argument").unwrap_or_default();
        Some(UserEvent { action, argument, node, event })
    }

    /// The value of the field.
    pub(super) fn value(&self) -> String {
        dom::value(&self.node)
    }

    /// Keeps the browser from its own reaction.
    pub(super) fn prevent_default(&self) {
        self.event.prevent_default();
    }

    /// The pressed key, preceded by `Shift+` if that is held; `None` during input by an input
    /// method, and with modifiers of the browser's shortcuts.
    pub(super) fn key(&self) -> Option<String> {
        key(&self.event)
    }

    /// Whether a file is being dragged.
    pub(super) fn has_file(&self) -> bool {
        has_file(&self.event)
    }

    /// The dropped file.
    pub(super) fn file(&self) -> Option<File> {
        data_transfer(&self.event)?.files()?.get(0)
    }
}

fn key(event: &Event) -> Option<String> {
    let event = event.dyn_ref::<KeyboardEvent>()?;
    let others = event.ctrl_key() || event.alt_key() || event.meta_key() || event.is_composing();
    let shift = if event.shift_key() { "Shift+" } else { "" };
    (!others).then(|| format!("{shift}{}", event.key()))
}

/// Whether the browser opens the clicked link in a new tab or window.
fn opens_elsewhere(event: &Event, target: &Element) -> bool {
    let has_modifier = event
        .dyn_ref::<MouseEvent>()
        .is_some_and(|click| click.ctrl_key() || click.meta_key() || click.shift_key());
    has_modifier && target.closest("a[href]").is_ok_and(|link| link.is_some())
}

fn has_file(event: &Event) -> bool {
    data_transfer(event).is_some_and(|data| data.types().includes(&"Files".into(), 0))
}

fn data_transfer(event: &Event) -> Option<web_sys::DataTransfer> {
    event.dyn_ref::<DragEvent>()?.data_transfer()
}
