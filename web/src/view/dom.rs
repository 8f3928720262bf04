//! Elements of the document. An element remembers what was written to it and skips a write of the
//! same value.

use std::ops::Deref;

use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    Document, Element, File, HtmlElement, HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement,
};

use super::action::Action;

/// Ids of elements that are used outside the panel that makes them.
pub(super) mod id {
    pub(in crate::view) const ANSWER: &str = "answer";
    pub(in crate::view) const ENDPOINT: &str = "endpoint";
    pub(in crate::view) const FILE: &str = "file";
    pub(in crate::view) const LANGUAGE: &str = "language";
    pub(in crate::view) const LESSON_NEXT: &str = "lesson-next";
    pub(in crate::view) const LOAD: &str = "load";
    pub(in crate::view) const MESSAGE: &str = "message";
    pub(in crate::view) const PROTOCOL: &str = "protocol";
    pub(in crate::view) const SIGN_IN: &str = "sign-in";
    pub(in crate::view) const TOGGLE: &str = "toggle";
    pub(in crate::view) const TOKEN: &str = "token";
    pub(in crate::view) const TRANSCRIPT: &str = "transcript";
}

const SVG: &str = "http://www.w3.org/2000/svg";

/// An element with a cache of what was written to it. A single pointer, because the builder methods
/// pass the element by value, and are called often: larger values add to the page's size.
#[derive(Clone)]
pub(super) struct El(Box<Cached>);

#[derive(Clone)]
pub(super) struct Cached {
    pub(super) node: Element,
    text: Option<String>,
    attributes: Vec<(&'static str, String)>,
}

impl Deref for El {
    type Target = Cached;

    fn deref(&self) -> &Cached {
        &self.0
    }
}

/// The value of a call that cannot fail here. `expect` would print the error, and the formatting of
/// JavaScript values would add to the page's size.
pub(super) fn expect_ok<T>(done: Result<T, JsValue>, why: &str) -> T {
    done.unwrap_or_else(|_| panic!("{why}"))
}

pub(super) fn document() -> Document {
    web_sys::window().and_then(|window| window.document()).expect("a page has a document")
}

/// A new HTML element.
pub(super) fn el(tag: &str) -> El {
    El::of(expect_ok(document().create_element(tag), "tags here are names"))
}

/// A new SVG element.
pub(super) fn svg(tag: &str) -> El {
    El::of(expect_ok(document().create_element_ns(Some(SVG), tag), "tags here are names"))
}

/// A new HTML element with a text.
pub(super) fn text(tag: &str, text: &str) -> El {
    let mut it = el(tag);
    it.set_text(text);
    it
}

/// A button for an action.
pub(super) fn button(label: &str, action: Action) -> El {
    text("button", label).attr("type", "button").action(action)
}

/// A panel and its header with the title.
pub(super) fn panel(id: &str, title: &str) -> (El, El) {
    let title_id = format!("{id}-title");
    let header = el("header").child(&text("h2", title).id(&title_id));
    let panel = el("section").id(id).class("panel").attr("aria-labelledby", &title_id);
    (panel.child(&header), header)
}

impl El {
    fn of(node: Element) -> El {
        El(Box::new(Cached { node, text: None, attributes: Vec::new() }))
    }

    // Builder methods, which are not cached

    #[inline(never)]
    pub(super) fn class(self, names: &str) -> El {
        self.node.set_class_name(names);
        self
    }

    #[inline(never)]
    pub(super) fn id(self, id: &str) -> El {
        self.node.set_id(id);
        self
    }

    #[inline(never)]
    pub(super) fn attr(self, name: &str, value: &str) -> El {
        set(&self.node, name, value);
        self
    }

    #[inline(never)]
    pub(super) fn child(self, child: &El) -> El {
        self.append(child);
        self
    }

    #[inline(never)]
    pub(super) fn action(self, action: Action) -> El {
        self.attr("data-action", action.name())
    }

    pub(super) fn children<'a>(self, children: impl IntoIterator<Item = &'a El>) -> El {
        children.into_iter().for_each(|child| self.append(child));
        self
    }

    #[inline(never)]
    pub(super) fn plain_text(self, text: &str) -> El {
        let node = document().create_text_node(text);
        expect_ok(self.node.append_child(&node), "an element takes text");
        self
    }

    // Cached writes

    #[inline(never)]
    pub(super) fn append(&self, child: &El) {
        expect_ok(self.node.append_child(&child.node), "nothing here is put into itself");
    }

    #[inline(never)]
    pub(super) fn set_text(&mut self, text: &str) {
        if self.text.as_deref() == Some(text) {
            return;
        }
        // Changing a text node costs less than replacing it.
        let child = self.text.as_ref().and_then(|_| self.node.first_child());
        match child {
            Some(child) => child.set_node_value(Some(text)),
            None => self.node.set_text_content(Some(text)),
        }
        self.0.text = Some(text.to_owned());
    }

    #[inline(never)]
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        if self.remember(name, value) {
            set(&self.node, name, value);
        }
    }

    /// Sets an attribute to `true` or `false`.
    pub(super) fn set_flag(&mut self, name: &'static str, value: bool) {
        self.set(name, if value { "true" } else { "false" });
    }

    /// Sets or removes an attribute.
    #[inline(never)]
    pub(super) fn set_if(&mut self, name: &'static str, value: &str, wanted: bool) {
        if wanted {
            self.set(name, value);
        } else if self.forget(name) || self.node.has_attribute(name) {
            self.node.remove_attribute(name).ok();
        }
    }

    pub(super) fn show(&mut self, shown: bool) {
        self.set_if("hidden", "", !shown);
    }

    /// Sets a style property through the object model: the Content-Security-Policy forbids `style`
    /// attributes.
    #[inline(never)]
    pub(super) fn style(&mut self, property: &'static str, value: &str) {
        if self.remember(property, value)
            && let Some(node) = self.node.dyn_ref::<HtmlElement>()
        {
            node.style().set_property(property, value).ok();
        }
    }

    pub(super) fn empty(&mut self) {
        self.node.set_text_content(None);
        self.0.text = None;
        self.0.attributes.clear();
    }

    /// Caches a value; returns whether it is new.
    fn remember(&mut self, name: &'static str, value: &str) -> bool {
        let attributes = &mut self.0.attributes;
        match attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if known == value => return false,
            Some((_, known)) => value.clone_into(known),
            None => attributes.push((name, value.to_owned())),
        }
        true
    }

    fn forget(&mut self, name: &str) -> bool {
        let attributes = &mut self.0.attributes;
        let before = attributes.len();
        attributes.retain(|(known, _)| *known != name);
        attributes.len() < before
    }
}

/// The value of a field.
pub(super) fn value(node: &Element) -> String {
    if let Some(field) = node.dyn_ref::<HtmlInputElement>() {
        field.value()
    } else if let Some(field) = node.dyn_ref::<HtmlTextAreaElement>() {
        field.value()
    } else {
        node.dyn_ref::<HtmlSelectElement>().map(HtmlSelectElement::value).unwrap_or_default()
    }
}

/// Sets the value of a field, unless it is the same: setting it would move the caret.
pub(super) fn set_value(node: &Element, text: &str) {
    if value(node) == text {
        return;
    }
    if let Some(field) = node.dyn_ref::<HtmlInputElement>() {
        field.set_value(text);
    } else if let Some(field) = node.dyn_ref::<HtmlTextAreaElement>() {
        field.set_value(text);
    } else if let Some(field) = node.dyn_ref::<HtmlSelectElement>() {
        field.set_value(text);
    }
}

/// Whether an element is scrolled to its end, or nearly so.
pub(super) fn is_at_end(node: &Element) -> bool {
    node.scroll_height() - node.client_height() - node.scroll_top() < 8
}

/// Scrolls an element to its end.
pub(super) fn scroll_to_end(node: &Element) {
    node.set_scroll_top(node.scroll_height());
}

/// Scrolls a list downwards until the end of one of its entries is visible.
pub(super) fn scroll_to(list: &Element, entry: &Element) {
    let end = |it: &Element| {
        let area = it.get_bounding_client_rect();
        area.top() + area.height()
    };
    let below = end(entry) - end(list);
    if below > 0.0 {
        list.set_scroll_top(list.scroll_top() + below.ceil() as i32);
    }
}

/// An open menu, or the open form for the Close frame.
const MENU: &str = ":is(.menu-button, #closing)[open]";

/// Closes the menu that this element is in, and moves the focus to its button; returns whether the
/// element is in a menu.
pub(super) fn close_menu(element: &Element) -> bool {
    let Some(menu) = element.closest(MENU).ok().flatten() else { return false };
    menu.remove_attribute("open").ok();
    let button = menu.first_element_child().and_then(|it| it.dyn_into::<HtmlElement>().ok());
    button.map(|button| button.focus());
    true
}

/// Closes the open menu, unless this element is in it.
pub(super) fn close_menus_outside(element: &Element) {
    let open = document().query_selector(MENU).ok().flatten();
    if let Some(menu) = open.filter(|menu| !menu.contains(Some(element))) {
        menu.remove_attribute("open").ok();
    }
}

/// Takes the chosen file out of a file field, which is ready for the same file again.
pub(super) fn take_file(node: &Element) -> Option<File> {
    let field = node.dyn_ref::<HtmlInputElement>()?;
    let file = field.files()?.get(0);
    field.set_value("");
    file
}

pub(super) fn is_checked(node: &Element) -> bool {
    node.dyn_ref::<HtmlInputElement>().is_some_and(HtmlInputElement::checked)
}

pub(super) fn set_checked(node: &Element, checked: bool) {
    if let Some(field) = node.dyn_ref::<HtmlInputElement>() {
        field.set_checked(checked);
    }
}

fn set(node: &Element, name: &str, value: &str) {
    expect_ok(node.set_attribute(name, value), "attributes here are names");
}
