//! Calls to the browser, sockets aside.

use std::{cell::Cell, rc::Rc};

use js_sys::{Array, Date, Math, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{
    Blob, BlobPropertyBag, Element, File, FocusOptions, HtmlAnchorElement, HtmlElement,
    RequestInit, Response, Url, UrlSearchParams, Window,
};

use super::dom::document;
use crate::{
    composer::{Draft, LineEnding, Mode},
    i18n::Language,
    location::{Location, SharedLink, StartOptions},
    storage::{self, Stored},
    time::Millis,
};

/// The storage key of the chosen language.
const LANGUAGE: &str = "echogate-language";
/// The storage key of the other settings.
const SETTINGS: &str = "echogate-settings";

/// The current time.
pub(super) fn now() -> Millis {
    // Wall-clock time when the page was loaded, then a monotonic clock.
    let clock = window().performance();
    clock.map_or_else(Date::now, |clock| clock.time_origin() + clock.now())
}

/// The offset of the local time zone from UTC at a point in time, in minutes.
pub(super) fn minutes_ahead(at: Millis) -> i32 {
    -(Date::new(&JsValue::from_f64(at)).get_timezone_offset() as i32)
}

/// The origin and the folder that the page was loaded from.
pub(super) fn location() -> Location {
    let location = window().location();
    let path = location.pathname().unwrap_or_default();
    Location {
        base: path.rsplit_once('/').unwrap_or_default().0.to_owned(),
        secure: location.protocol().is_ok_and(|protocol| protocol == "https:"),
        host: location.host().unwrap_or_default(),
    }
}

/// The parameters of the page's URL.
pub(super) fn start_options() -> StartOptions {
    let query = window().location().search().unwrap_or_default();
    let parameters = UrlSearchParams::new_with_str(&query).ok();
    location().start_options(|name| parameters.as_ref()?.get(name))
}

/// The fragment of the page's URL.
pub(super) fn fragment() -> String {
    window().location().hash().unwrap_or_default().trim_start_matches('#').to_owned()
}

/// The shared link in the fragment of the page's URL.
pub(super) fn shared() -> Option<SharedLink> {
    link_in(&fragment())
}

/// The shared link whose parameters are in a fragment.
pub(super) fn link_in(fragment: &str) -> Option<SharedLink> {
    let parameters = UrlSearchParams::new_with_str(fragment).ok()?;
    let draft = match (parameters.get("message"), parameters.get("hex")) {
        (Some(text), _) => Draft::text(&text),
        (None, Some(digits)) => Draft::hex(&digits),
        (None, None) => Draft::default(),
    };
    let ending = LineEnding::of_name(&parameters.get("ending").unwrap_or_default());
    let escapes = parameters.get("escapes").is_some();
    Some(SharedLink {
        endpoint: parameters.get("endpoint")?,
        protocols: parameters.get("subprotocol").unwrap_or_default(),
        draft: Draft { ending, escapes, ..draft },
    })
}

/// A link to the page with an endpoint, subprotocols and a draft.
pub(super) fn link(endpoint: &str, protocols: &str, draft: &Draft) -> String {
    let location = window().location();
    let page = location.href().unwrap_or_default();
    let page = page.split(['?', '#']).next().unwrap_or_default().to_owned();
    let Ok(parameters) = UrlSearchParams::new() else { return page };
    parameters.append("endpoint", endpoint);
    if !protocols.is_empty() {
        parameters.append("subprotocol", protocols);
    }
    if !draft.text.is_empty() {
        let name = if draft.mode == Mode::Hex { "hex" } else { "message" };
        parameters.append(name, &draft.text);
    }
    if draft.ending != LineEnding::None {
        parameters.append("ending", draft.ending.name());
    }
    if draft.escapes {
        parameters.append("escapes", "");
    }
    format!("{page}#{}", String::from(parameters.to_string()))
}

/// The settings that were stored.
pub(super) fn stored() -> Option<Stored> {
    storage::read(&window().local_storage().ok()??.get_item(SETTINGS).ok()??)
}

/// Stores settings, or removes them, if the browser has storage.
pub(super) fn store(settings: Option<&str>) {
    if let Some(storage) = window().local_storage().ok().flatten() {
        match settings {
            Some(settings) => storage.set_item(SETTINGS, settings).ok(),
            None => storage.remove_item(SETTINGS).ok(),
        };
    }
}

/// The language that the user chose before, or else the browser's.
pub(super) fn language() -> Language {
    let storage = window().local_storage().ok().flatten();
    let chosen = storage.and_then(|storage| storage.get_item(LANGUAGE).ok().flatten());
    Language::of(&chosen.or_else(|| window().navigator().language()).unwrap_or_default())
}

/// Stores the chosen language, if the browser has storage.
pub(super) fn store_language(language: Language) {
    if let Some(storage) = window().local_storage().ok().flatten() {
        storage.set_item(LANGUAGE, language.tag()).ok();
    }
}

/// A random number from 0 to 1.
pub(super) fn random() -> f64 {
    Math::random()
}

/// A random label.
pub(super) fn random_label() -> String {
    let half = || (Math::random() * f64::from(u32::MAX)) as u32;
    format!("page-{:08x}{:08x}", half(), half())
}

/// Writes an error to the browser's console.
pub(super) fn log_error(text: &str) {
    web_sys::console::error_1(&JsValue::from_str(text));
}

/// The element of this id.
pub(super) fn element(id: &str) -> Option<HtmlElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Moves the focus to the element of this id.
pub(super) fn focus(id: &str) {
    if let Some(element) = element(id) {
        // Fails only if there is nothing to focus.
        element.focus().ok();
    }
}

/// Moves the focus to the element of this id, without the page scrolling there.
pub(super) fn focus_in_place(id: &str) {
    if let Some(element) = element(id) {
        let options = FocusOptions::new();
        options.set_prevent_scroll(true);
        element.focus_with_options(&options).ok();
    }
}

/// Whether the main pointing device is a finger: the focus on a field opens a keyboard on the screen.
pub(super) fn has_touch() -> bool {
    let query = window().match_media("(pointer: coarse)").ok().flatten();
    query.is_some_and(|query| query.matches())
}

/// Clicks the element of this id.
pub(super) fn click(id: &str) {
    if let Some(element) = element(id) {
        element.click();
    }
}

/// The id of the element that has the focus.
pub(super) fn focused() -> String {
    document().active_element().map(|element| element.id()).unwrap_or_default()
}

/// Calls back before the next frame, which comes when the page is visible.
pub(super) fn before_next_frame(callback: &Closure<dyn FnMut()>) {
    window().request_animation_frame(callback.as_ref().unchecked_ref()).ok();
}

/// Calls back after a time; returns the handle for [`cancel`].
pub(super) fn after(span: Millis, callback: &Closure<dyn FnMut()>) -> i32 {
    let (callback, span) = (callback.as_ref().unchecked_ref(), span.ceil() as i32);
    window()
        .set_timeout_with_callback_and_timeout_and_arguments_0(callback, span)
        .unwrap_or_default()
}

/// Cancels a timer.
pub(super) fn cancel(timer: i32) {
    window().clear_timeout_with_handle(timer);
}

/// Requests a resource of this server, at a path relative to the page; `then` gets the body of a
/// successful response, and `None` after a failure.
pub(super) fn get(path: &'static str, then: impl FnOnce(Option<String>) + 'static) {
    settled(window().fetch_with_str(path), move |answer| {
        let response: Option<Response> = answer.and_then(|answer| answer.dyn_into().ok());
        match response.filter(Response::ok).and_then(|it| it.text().ok()) {
            Some(text) => settled(text, |text| then(text.and_then(|text| text.as_string()))),
            None => then(None),
        }
    });
}

/// Posts to this server, at a path relative to the page; `failed` is called without a successful
/// response. The effect shows in the server's events.
pub(super) fn post(path: &str, failed: impl FnOnce() + 'static) {
    let options = RequestInit::new();
    options.set_method("POST");
    settled(window().fetch_with_str_and_init(path, &options), |answer| {
        let response: Option<Response> = answer.and_then(|answer| answer.dyn_into().ok());
        if !response.is_some_and(|response| response.ok()) {
            failed();
        }
    });
}

/// Reads a file; `then` gets `None` if that fails.
pub(super) fn read(file: &File, then: impl FnOnce(Option<Vec<u8>>) + 'static) {
    settled(file.array_buffer(), |bytes| {
        then(bytes.map(|bytes| Uint8Array::new(&bytes).to_vec()));
    });
}

/// Copies text to the clipboard; `then` gets whether that succeeded.
pub(super) fn copy(text: &str, then: impl FnOnce(bool) + 'static) {
    // Pages over plain http from another host have no clipboard.
    let navigator = JsValue::from(window().navigator());
    let has = js_sys::Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|it| it.is_object());
    if has {
        settled(window().navigator().clipboard().write_text(text), |done| then(done.is_some()));
    } else {
        then(false);
    }
}

#[wasm_bindgen]
extern "C" {
    /// A promise whose `then` takes functions as plain values.
    type Promise;
    #[wasm_bindgen(method)]
    fn then(this: &Promise, done: &JsValue, failed: &JsValue) -> JsValue;
}

/// Calls back with the value of a promise, `None` if it is rejected. Futures would do the same, but
/// their formatting of JavaScript values would add to the page's size.
fn settled<P: JsCast>(promise: P, then: impl FnOnce(Option<JsValue>) + 'static) {
    type Then = Box<dyn FnOnce(Option<JsValue>)>;
    let once = |then: Rc<Cell<Option<Then>>>, keep: fn(JsValue) -> Option<JsValue>| {
        Closure::once_into_js(move |value: JsValue| {
            if let Some(then) = then.take() {
                then(keep(value));
            }
        })
    };
    let then: Then = Box::new(then);
    let then = Rc::new(Cell::new(Some(then)));
    let promise: Promise = promise.unchecked_into();
    promise.then(&once(then.clone(), Some), &once(then, |_| None));
}

/// Offers bytes as a file to save.
pub(super) fn download(name: &str, kind: &str, bytes: &[u8]) -> Option<()> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let parts = Array::of1(&Uint8Array::from(bytes));
    let blob = Blob::new_with_u8_array_sequence_and_options(&parts, &options).ok()?;
    let url = Url::create_object_url_with_blob(&blob).ok()?;
    let link: HtmlAnchorElement = document().create_element("a").ok()?.dyn_into().ok()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    Url::revoke_object_url(&url).ok()
}

/// Whether the user has selected text in an element.
pub(super) fn has_selection_in(element: &Element) -> bool {
    let selection = window().get_selection().ok().flatten();
    selection.is_some_and(|it| {
        !it.is_collapsed() && it.anchor_node().is_some_and(|node| element.contains(Some(&node)))
    })
}

/// A point in time as ISO 8601 in UTC.
pub(super) fn iso_time(at: Millis) -> String {
    Date::new(&JsValue::from_f64(at)).to_iso_string().into()
}

/// The date of a point in time in the local time zone, as ISO 8601.
pub(super) fn local_date(at: Millis) -> String {
    let mut date = iso_time(at + f64::from(minutes_ahead(at)) * 60_000.0);
    date.truncate(10);
    date
}

fn window() -> Window {
    web_sys::window().expect("this module runs in a window, not in a worker")
}
