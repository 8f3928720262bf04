//! What the page asks of the browser, sockets aside.

use js_sys::Date;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{Document, HtmlElement, UrlSearchParams, Window};

use crate::{
    place::{Place, Start},
    time::Millis,
};

/// The time.
pub(super) fn now() -> Millis {
    // Wall-clock time when the page was loaded, and since then a clock that never goes back.
    let clock = window().performance();
    clock.map_or_else(Date::now, |clock| clock.time_origin() + clock.now())
}

/// How far this computer's time zone was ahead of UTC at a point in time, in minutes.
pub(super) fn minutes_ahead(at: Millis) -> i32 {
    -(Date::new(&JsValue::from_f64(at)).get_timezone_offset() as i32)
}

/// Where the page was loaded from.
pub(super) fn place() -> Place {
    let location = window().location();
    Place {
        secure: location.protocol().is_ok_and(|protocol| protocol == "https:"),
        host: location.host().unwrap_or_default(),
    }
}

/// What the page begins with.
pub(super) fn start() -> Start {
    let query = window().location().search().unwrap_or_default();
    let parameters = UrlSearchParams::new_with_str(&query).ok();
    place().start(|name| parameters.as_ref()?.get(name))
}

/// Writes an error to the browser's console.
pub(super) fn log_error(text: &str) {
    web_sys::console::error_1(&JsValue::from_str(text));
}

/// The element of this id.
pub(super) fn element(id: &str) -> Option<HtmlElement> {
    document()?.get_element_by_id(id)?.dyn_into().ok()
}

/// Moves the focus to the element of this id.
pub(super) fn focus(id: &str) {
    if let Some(element) = element(id) {
        // It is refused only where there is nothing to focus.
        element.focus().ok();
    }
}

/// Whether the element of this id has the focus.
pub(super) fn has_focus(id: &str) -> bool {
    let focused = document().and_then(|document| document.active_element());
    focused.is_some_and(|element| element.id() == id)
}

/// Calls back before the next frame is drawn; not before the page is visible.
pub(super) fn before_next_frame(callback: &Closure<dyn FnMut()>) {
    window().request_animation_frame(callback.as_ref().unchecked_ref()).ok();
}

/// Calls back after a while.
pub(super) fn after(span: Millis, callback: &Closure<dyn FnMut()>) {
    window()
        .set_timeout_with_callback_and_timeout_and_arguments_0(
            callback.as_ref().unchecked_ref(),
            span.ceil() as i32,
        )
        .ok();
}

fn document() -> Option<Document> {
    window().document()
}

fn window() -> Window {
    web_sys::window().expect("this module runs in a window, not in a worker")
}
