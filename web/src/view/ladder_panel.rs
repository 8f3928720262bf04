//! The ladder of a client that is followed: its events as arrows between client, echogate and
//! upstream.

use super::{
    action::Action,
    browser,
    command::Command,
    connection::{Connection, Source},
    dom::{El, button, el, panel, text},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    format,
    i18n::{Texts, fill},
    json::Json,
    ladder::{self, Step},
};

/// The most steps on the page; older ones are removed.
const MAX_STEPS: usize = 500;

pub(super) struct LadderPanel {
    pub(super) root: El,
    lanes: [El; 3],
    note: El,
    list: El,
    /// The connection whose steps are drawn.
    of: Option<u32>,
    /// The number of its events that are drawn, those that were dropped included.
    drawn: u64,
    steps: u64,
}

impl LadderPanel {
    pub(super) fn new(texts: &Texts) -> LadderPanel {
        let (root, head) = panel("ladder", texts.ladder);
        let back = button(texts.show_transcript, Action::ShowTranscript).id("show-transcript");
        head.append(&back.class("quiet"));
        let lanes = ["", "echogate", ""].map(|lane| text("span", lane));
        let note = el("p").class("notice");
        let list = el("ol").class("steps");
        let heads = el("div").class("lanes").children(&lanes);
        let scroll = el("div").id("ladder-list").attr("tabindex", "0").child(&heads).child(&list);
        let root = root.class("panel ladder").child(&note).child(&scroll);
        LadderPanel { root, lanes, note, list, of: None, drawn: 0, steps: 0 }
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        let texts = model.texts;
        let connection = model.connection();
        let shown = connection.view.is_ladder;
        let id = connection.id;
        let Source::Client(following) = &connection.source else { return self.root.show(false) };
        self.root.show(shown);
        if !shown {
            return;
        }
        if self.of.replace(id) != Some(id) {
            self.list.empty();
            (self.drawn, self.steps) = (0, 0);
        }
        let events = &following.events;
        let total = events.dropped + events.iter().len() as u64;
        let new =
            usize::try_from(total - self.drawn).unwrap_or(usize::MAX).min(events.iter().len());
        let at_end = is_at_end(&self.list);
        let skipped = new.saturating_sub(MAX_STEPS);
        // An event has at least one step.
        self.steps += skipped as u64;
        for line in events.iter().skip(events.iter().len() - new + skipped) {
            let Some(event) = Json::read(line) else { continue };
            if let Some(target) = event.text("target") {
                self.lanes[0].set_text(event.text("peer").unwrap_or(texts.by_client));
                self.lanes[2].set_text(event.text("upstream").unwrap_or(target));
            }
            for step in ladder::steps(&event, texts) {
                self.list.append(&draw_step(&step));
                self.steps += 1;
            }
        }
        self.drawn = total;
        while self.list.node.child_element_count() as usize > MAX_STEPS {
            if let Some(first) = self.list.node.first_element_child() {
                first.remove();
            }
        }
        let hidden = self.steps.saturating_sub(MAX_STEPS as u64);
        self.note.show(hidden > 0);
        self.note.set_text(&fill(texts.ladder_hidden, &[&format::grouped(hidden)]));
        if new > 0 && at_end {
            scroll_to_end(&self.list);
        }
    }
}

fn draw_step(step: &Step) -> El {
    let arrow = match step.arrow {
        None => "none",
        Some(arrow) => match (arrow.upstream, arrow.to_server) {
            (false, true) => "client-right",
            (false, false) => "client-left",
            (true, true) => "upstream-right",
            (true, false) => "upstream-left",
        },
    };
    let time = format::clock(step.at, browser::minutes_ahead(step.at));
    let label = el("span").class("arrow").child(&text("bdi", &step.label));
    let summary = el("summary").child(&text("span", &time).class("time")).child(&label);
    let about = el("div").class("about").child(&text("p", step.about));
    if !step.detail.is_empty() {
        about.append(&text("pre", &step.detail).class("text").attr("tabindex", "0"));
    }
    let details = el("details").child(&summary).child(&about);
    el("li").class("step").attr("data-arrow", arrow).child(&details)
}

fn is_at_end(list: &El) -> bool {
    let scroll = list.node.parent_element();
    scroll.is_none_or(|it| it.scroll_height() - it.client_height() - it.scroll_top() < 8)
}

fn scroll_to_end(list: &El) {
    if let Some(scroll) = list.node.parent_element() {
        scroll.set_scroll_top(scroll.scroll_height());
    }
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    match event.action {
        Action::ShowLadder => {
            // The own connection is followed like any other: the server sees its frames.
            let Connection { source, label, .. } = model.connection();
            if let Source::Socket = source {
                let label = label.clone();
                let client = model.live.with_label(&label)?.connection.id;
                model.follow(client);
            }
            if model.connection().is_read_only() {
                model.connection().view.is_ladder = true;
            }
            Some(Command::Focus("show-transcript"))
        }
        Action::ShowTranscript => {
            model.connection().view.is_ladder = false;
            Some(Command::Focus("show-ladder"))
        }
        _ => None,
    }
}
