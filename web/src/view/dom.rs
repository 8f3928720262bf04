//! Elements: made once, and changed only where something has changed.

use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    Document, Element, HtmlElement, HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement,
};

const SVG: &str = "http://www.w3.org/2000/svg";

/// An element that remembers what it was told, so that to tell it the same again costs nothing.
#[derive(Clone)]
pub(super) struct El {
    pub(super) node: Element,
    // In a box, for an element is handed on with each thing that it is told when it is made.
    told: Option<Box<Told>>,
}

#[derive(Clone, Default)]
struct Told {
    text: Option<String>,
    attributes: Vec<(&'static str, String)>,
}

/// What cannot fail here. The error's own words would bring along all that it takes to write
/// any value of JavaScript.
pub(super) fn sure<T>(done: Result<T, JsValue>, why: &str) -> T {
    done.unwrap_or_else(|_| panic!("{why}"))
}

pub(super) fn document() -> Document {
    web_sys::window().and_then(|window| window.document()).expect("a page has a document")
}

/// A new element of HTML.
pub(super) fn el(tag: &str) -> El {
    El::of(sure(document().create_element(tag), "tags here are names"))
}

/// A new element of SVG.
pub(super) fn svg(tag: &str) -> El {
    El::of(sure(document().create_element_ns(Some(SVG), tag), "tags here are names"))
}

/// A new element with a text in it.
pub(super) fn text(tag: &str, text: &str) -> El {
    let mut it = el(tag);
    it.set_text(text);
    it
}

/// A button that does something, by the name that the page's listeners know it by.
pub(super) fn button(label: &str, does: &str) -> El {
    text("button", label).attr("type", "button").attr("data-do", does)
}

impl El {
    fn of(node: Element) -> El {
        El { node, told: None }
    }

    // To build with

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
    pub(super) fn with(self, child: &El) -> El {
        self.append(child);
        self
    }

    pub(super) fn all<'a>(self, children: impl IntoIterator<Item = &'a El>) -> El {
        children.into_iter().for_each(|child| self.append(child));
        self
    }

    #[inline(never)]
    pub(super) fn plain(self, text: &str) -> El {
        let node = document().create_text_node(text);
        sure(self.node.append_child(&node), "an element takes text");
        self
    }

    // To change with

    #[inline(never)]
    pub(super) fn append(&self, child: &El) {
        sure(self.node.append_child(&child.node), "nothing here is put into itself");
    }

    #[inline(never)]
    pub(super) fn set_text(&mut self, text: &str) {
        let told = self.told.get_or_insert_default();
        if told.text.as_deref() == Some(text) {
            return;
        }
        // To change a text costs the browser less than to put another in its place.
        let child = told.text.as_ref().and_then(|_| self.node.first_child());
        match child {
            Some(child) => child.set_node_value(Some(text)),
            None => self.node.set_text_content(Some(text)),
        }
        told.text = Some(text.to_owned());
    }

    #[inline(never)]
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        if self.remember(name, value) {
            set(&self.node, name, value);
        }
    }

    /// Sets an attribute, or takes it away.
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

    /// Sets a property of its style; by way of the object model, as the page's policy wants it.
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
        self.told = None;
    }

    /// Whether that is new.
    fn remember(&mut self, name: &'static str, value: &str) -> bool {
        let attributes = &mut self.told.get_or_insert_default().attributes;
        match attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if known == value => return false,
            Some((_, known)) => value.clone_into(known),
            None => attributes.push((name, value.to_owned())),
        }
        true
    }

    fn forget(&mut self, name: &str) -> bool {
        let attributes = &mut self.told.get_or_insert_default().attributes;
        let before = attributes.len();
        attributes.retain(|(known, _)| *known != name);
        attributes.len() < before
    }
}

/// What is in a field.
pub(super) fn value(node: &Element) -> String {
    if let Some(field) = node.dyn_ref::<HtmlInputElement>() {
        field.value()
    } else if let Some(field) = node.dyn_ref::<HtmlTextAreaElement>() {
        field.value()
    } else {
        node.dyn_ref::<HtmlSelectElement>().map(HtmlSelectElement::value).unwrap_or_default()
    }
}

/// Puts something into a field, unless it is there already: to put it again would move the caret.
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

pub(super) fn is_checked(node: &Element) -> bool {
    node.dyn_ref::<HtmlInputElement>().is_some_and(HtmlInputElement::checked)
}

pub(super) fn set_checked(node: &Element, checked: bool) {
    if let Some(field) = node.dyn_ref::<HtmlInputElement>() {
        field.set_checked(checked);
    }
}

fn set(node: &Element, name: &str, value: &str) {
    sure(node.set_attribute(name, value), "attributes here are names");
}
