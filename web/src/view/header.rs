//! The page's header: links to its views, and the language.

use super::{
    action::Action,
    browser,
    command::Command,
    dom::{El, document, el, expect_ok, id, text},
    model::Model,
    user_event::UserEvent,
};
use crate::i18n::{Language, Texts};

pub(super) struct Header {
    workbench: El,
    chat: El,
}

impl Header {
    pub(super) fn new(texts: &'static Texts) -> Header {
        if let Some(root) = document().document_element() {
            root.set_attribute("lang", texts.language.tag()).ok();
        }
        for (id, content) in [("tagline", texts.tagline), ("skip", texts.skip)] {
            if let Some(slot) = browser::element(id) {
                slot.set_text_content(Some(content));
            }
        }
        let workbench = text("a", texts.workbench).attr("href", "#");
        let chat = text("a", texts.operator).attr("href", "#operator");
        let views = el("nav").attr("aria-label", texts.views).child(&workbench).child(&chat);
        let language = el("select").id(id::LANGUAGE).action(Action::SetLanguage);
        for one in Language::ALL {
            let mut option =
                text("option", one.name()).attr("value", one.tag()).attr("lang", one.tag());
            option.set_if("selected", "", one == texts.language);
            language.append(&option);
        }
        let label = text("label", texts.language_label).attr("for", id::LANGUAGE).class("unseen");
        if let Some(slot) = browser::element("controls") {
            slot.set_text_content(None);
            for child in [&views, &label, &language] {
                expect_ok(slot.append_child(&child.node), "the header takes new children");
            }
        }
        Header { workbench, chat }
    }

    /// Draws. The operator's view is offered where the server has a route to it.
    /// `waiting` is shown after its name.
    pub(super) fn draw(&mut self, at_operator: bool, model: &Model, waiting: &str) {
        self.chat.show(model.has_operator() || at_operator);
        self.chat.set_text(&format!("{}{waiting}", model.texts.operator));
        self.workbench.set_if("aria-current", "page", !at_operator);
        self.chat.set_if("aria-current", "page", at_operator);
    }
}

pub(super) fn act(_: &mut Model, event: &UserEvent) -> Option<Command> {
    let Action::SetLanguage = event.action else { return None };
    let language = Language::of(&event.value());
    browser::store_language(language);
    Some(Command::SetLanguage(language))
}
