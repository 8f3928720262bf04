//! What is on the screen, in one language: the panels and how they are arranged.

use super::{
    browser,
    composer::Composer,
    connections::Connections,
    dom::{El, el, sure, text},
    masthead::Masthead,
    measures::Measures,
    model::Model,
    operator::Desk,
    transcript::TranscriptPanel,
    way::WayPanel,
    who::Who,
};
use crate::{time::Millis, words::Words};

pub(super) struct Screen {
    masthead: Masthead,
    connections: Connections,
    transcript: TranscriptPanel,
    composer: Composer,
    way: WayPanel,
    measures: Measures,
    who: Who,
    desk: Desk,
    bench: El,
    announcer: El,
}

impl Screen {
    pub(super) fn new(words: &'static Words) -> Screen {
        let screen = Screen {
            masthead: Masthead::new(words),
            connections: Connections::new(words),
            transcript: TranscriptPanel::new(words),
            composer: Composer::new(words),
            way: WayPanel::new(words),
            measures: Measures::new(words),
            who: Who::new(words),
            desk: Desk::new(words),
            bench: el("div").id("bench"),
            announcer: el("p").id("announcer").class("unseen").attr("role", "status"),
        };
        let talk = el("div").class("talk").attr("data-drop", "");
        talk.append(&screen.transcript.root);
        talk.append(&screen.composer.root);
        let meters = el("div").class("meters");
        meters.append(&screen.way.root);
        meters.append(&screen.measures.root);
        meters.append(&screen.who.root);
        screen.bench.append(&screen.connections.root);
        screen.bench.append(&talk);
        screen.bench.append(&meters);
        if let Some(page) = browser::element("page") {
            page.set_text_content(None);
            for child in [&screen.bench, &screen.desk.root, &screen.announcer] {
                sure(page.append_child(&child.node), "the page takes what is new");
            }
        }
        screen
    }

    /// Draws what has changed. Answers whether it is to be drawn once more, for what was drawn
    /// has moved other things.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> bool {
        let settled = self.transcript.measure();
        let was_open = self.transcript.is_open();
        let at_desk = browser::hash() == "operator";
        self.masthead.draw(at_desk);
        self.bench.show(!at_desk);
        self.desk.draw(model, at_desk, now);
        if !at_desk {
            self.connections.draw(model, now);
            self.composer.draw(model, now);
            self.way.draw(model, now);
            self.measures.draw(model, now);
            self.who.draw(model, now);
            // Last, for to scroll it is to have all that was changed before laid out.
            self.transcript.draw(model);
        }
        if let Some(mut sentence) = model.announcer.speak(model.words, now) {
            // The same sentence again is no change, and would not be read out.
            if self.announcer.node.text_content().as_ref() == Some(&sentence) {
                sentence.push('\u{a0}');
            }
            self.announcer.set_text(&sentence);
        }
        !settled || was_open != self.transcript.is_open()
    }
}

/// A panel and its title.
pub(super) fn panel(id: &str, title: &str) -> (El, El) {
    let title_id = format!("{id}-title");
    let head = el("header").with(&text("h2", title).id(&title_id));
    let panel = el("section").id(id).class("panel").attr("aria-labelledby", &title_id);
    (panel.with(&head), head)
}
