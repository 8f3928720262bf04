//! The top of the page: which part of it is shown, and in which language.

use super::{
    act::Act,
    app::App,
    browser,
    dom::{El, document, el, sure, text},
};
use crate::words::{Language, Words};

pub(super) struct Masthead {
    bench: El,
    desk: El,
}

impl Masthead {
    pub(super) fn new(words: &'static Words) -> Masthead {
        if let Some(root) = document().document_element() {
            root.set_attribute("lang", words.language.tag()).ok();
        }
        for (id, said) in [("tagline", words.tagline), ("skip", words.skip)] {
            if let Some(place) = browser::element(id) {
                place.set_text_content(Some(said));
            }
        }
        let bench = text("a", words.workbench).attr("href", "#");
        let desk = text("a", words.operator).attr("href", "#operator");
        let views = el("nav").attr("aria-label", words.views).with(&bench).with(&desk);
        let language = el("select").id("language").attr("data-do", "language");
        for one in Language::ALL {
            let mut option =
                text("option", one.name()).attr("value", one.tag()).attr("lang", one.tag());
            option.set_if("selected", "", one == words.language);
            language.append(&option);
        }
        let label = text("label", words.language_label).attr("for", "language").class("unseen");
        if let Some(place) = browser::element("controls") {
            place.set_text_content(None);
            for child in [&views, &label, &language] {
                sure(place.append_child(&child.node), "the masthead takes what is new");
            }
        }
        Masthead { bench, desk }
    }

    pub(super) fn draw(&mut self, at_desk: bool) {
        self.bench.set_if("aria-current", "page", !at_desk);
        self.desk.set_if("aria-current", "page", at_desk);
    }
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    if !act.is("change", "language") {
        return false;
    }
    let language = Language::of(&act.value());
    browser::remember(language);
    app.speak(language);
    browser::focus("language");
    true
}
