//! The ladder of a client that is followed: its events as arrows between client, echogate and
//! upstream.

use web_sys::Element;

use super::{
    action::Action,
    browser,
    command::Command,
    connection::{Connection, Source},
    dom::{self, El, button, el, panel, text},
    following::Events,
    lesson_panel::LessonPanel,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    format,
    i18n::{Texts, fill},
    json::Json,
    ladder::{self, Step},
    lesson::Lesson,
};

/// The most steps on the page; older ones are removed.
const MAX_STEPS: usize = 500;

pub(super) struct LadderPanel {
    pub(super) root: El,
    play: El,
    lesson: LessonPanel,
    /// The lesson's step that is drawn.
    lesson_step: usize,
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
        let play = button(texts.lesson_play, Action::PlayLesson).id("play").class("quiet");
        let play = play.attr("title", texts.lesson_about);
        head.append(&el("div").class("tools").child(&play).child(&back.class("quiet")));
        let lesson = LessonPanel::new(texts);
        let lanes = ["", "echogate", ""].map(|lane| text("span", lane));
        let note = el("p").class("notice");
        let list = el("ol").class("steps");
        let heads = el("div").class("lanes").children(&lanes);
        let scroll = el("div").id("ladder-list").attr("tabindex", "0").child(&heads).child(&list);
        let root = root.class("panel ladder").child(&lesson.root).child(&note).child(&scroll);
        LadderPanel {
            root,
            play,
            lesson,
            lesson_step: 0,
            lanes,
            note,
            list,
            of: None,
            drawn: 0,
            steps: 0,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        let texts = model.texts;
        let Connection { id, view, .. } = model.connection();
        let (id, shown) = (*id, view.is_ladder);
        let Source::Client(following) = &model.connections[model.chosen].source else {
            return self.root.show(false);
        };
        self.root.show(shown);
        if !shown {
            return;
        }
        if self.of.replace(id) != Some(id) {
            self.list.empty();
            (self.drawn, self.steps, self.lesson_step) = (0, 0, 0);
        }
        let lesson = model.lesson.as_ref().filter(|it| it.tab == id).map(|it| &it.lesson);
        self.lesson.draw(model, id);
        self.play.show(lesson.is_none() && model.lesson_path().is_some());
        let at_end = is_at_end(&self.list);
        let has_new = self.draw_new(&following.events, lesson, texts);
        let hidden = self.steps.saturating_sub(MAX_STEPS as u64);
        self.note.show(hidden > 0);
        self.note.set_text(&fill(texts.ladder_hidden, &[&format::grouped(hidden)]));
        let is_at_latest = lesson.is_none_or(|lesson| !lesson.has_next() || !lesson.is_done());
        if has_new && at_end && is_at_latest {
            scroll_to_end(&self.list);
        }
        if let Some(lesson) = lesson {
            self.show_step(lesson.shown().1, has_new);
        }
    }

    /// Appends the steps of the events that are not drawn, and removes the oldest steps; returns whether
    /// there were such events.
    fn draw_new(&mut self, events: &Events, lesson: Option<&Lesson>, texts: &Texts) -> bool {
        let kept = events.iter().len();
        let total = events.dropped + kept as u64;
        let new = usize::try_from(total - self.drawn).unwrap_or(usize::MAX).min(kept);
        let skipped = new.saturating_sub(MAX_STEPS);
        // An event has at least one step.
        self.steps += skipped as u64;
        let first = total - (new - skipped) as u64;
        for (number, line) in (first..).zip(events.iter().skip(kept - new + skipped)) {
            let Some(event) = Json::read(line) else { continue };
            if let Some(target) = event.text("target") {
                self.lanes[0].set_text(event.text("peer").unwrap_or(texts.by_client));
                self.lanes[2].set_text(event.text("upstream").unwrap_or(target));
            }
            for step in ladder::steps(&event, texts) {
                let mut step = draw_step(&step);
                let of = lesson.map_or(0, |lesson| lesson.step_of(number));
                step.set("data-lesson", &of.to_string());
                self.list.append(&step);
                self.steps += 1;
            }
        }
        self.drawn = total;
        while self.list.node.child_element_count() as usize > MAX_STEPS {
            if let Some(first) = self.list.node.first_element_child() {
                first.remove();
            }
        }
        new > 0
    }

    /// Marks the arrows of a step of the lesson, and scrolls to the first one, or to the end if there
    /// is none yet.
    fn show_step(&mut self, step: usize, is_new: bool) {
        if std::mem::replace(&mut self.lesson_step, step) == step && !is_new {
            return;
        }
        let name = step.to_string();
        let mut first = None;
        let mut next = self.list.node.first_element_child();
        while let Some(item) = next {
            if item.get_attribute("data-lesson").as_deref() == Some(&name) {
                item.set_attribute("aria-current", "step").ok();
                first.get_or_insert_with(|| item.clone());
            } else {
                item.remove_attribute("aria-current").ok();
            }
            next = item.next_element_sibling();
        }
        let scroll = self.list.node.parent_element();
        let (Some(first), Some(scroll)) = (first, scroll) else { return scroll_to_end(&self.list) };
        let top = |it: &Element| it.get_bounding_client_rect().top();
        let offset = top(&first) - top(&self.list.node);
        scroll.set_scroll_top(offset as i32);
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
    scroll.is_none_or(|it| dom::is_at_end(&it))
}

fn scroll_to_end(list: &El) {
    if let Some(scroll) = list.node.parent_element() {
        dom::scroll_to_end(&scroll);
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
