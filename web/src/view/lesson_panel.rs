//! The lesson's step above the ladder: its title, its explanation, and the way on.

use super::{
    action::Action,
    command::Command,
    dom::{El, button, el, id},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    i18n::{Texts, fill},
    lesson::Step,
};

pub(super) struct LessonPanel {
    pub(super) root: El,
    title: El,
    about: El,
    state: El,
    back: El,
    next: El,
}

impl LessonPanel {
    pub(super) fn new(texts: &Texts) -> LessonPanel {
        let title = el("h3").id("lesson-title");
        let about = el("p").id("lesson-about");
        let state = el("span").id("lesson-state").class("soft");
        let back = button(texts.lesson_back, Action::LessonBack).id("lesson-back");
        let next = button(texts.lesson_next, Action::LessonNext).id(id::LESSON_NEXT);
        let next = next.class("primary").attr("aria-describedby", "lesson-about");
        let stop = button(texts.stop, Action::StopLesson).id("lesson-stop").class("quiet");
        let ways = el("div").class("ways").children([&back, &next, &stop, &state]);
        let root = el("section").id("lesson").attr("aria-labelledby", "lesson-title");
        let root = root.children([&title, &about, &ways]);
        LessonPanel { root, title, about, state, back, next }
    }

    /// Draws the lesson of the connection with this id, if it has one.
    pub(super) fn draw(&mut self, model: &Model, of: u32) {
        let session = model.lesson.as_ref().filter(|session| session.tab == of);
        self.root.show(session.is_some());
        let Some(session) = session else { return };
        let (texts, lesson) = (model.texts, &session.lesson);
        self.title.set_text(&title(model));
        let [_, about] = lesson.shown().0.texts(texts);
        self.about.set_text(about);
        self.state.set_text(match &session.failure {
            _ if lesson.is_done() => texts.lesson_done,
            Some(failure) => failure,
            None => texts.lesson_wait,
        });
        self.state.set_flag("data-done", lesson.is_done());
        self.back.set_flag("aria-disabled", !lesson.has_back());
        self.next.set_flag("aria-disabled", !lesson.has_next());
    }
}

/// The number of the step and its title.
fn title(model: &Model) -> String {
    let Some(session) = &model.lesson else { return String::new() };
    let (step, number) = session.lesson.shown();
    let [number, last] = [number, Step::ALL.len()].map(|number| number.to_string());
    fill(model.texts.lesson_step, &[&number, &last, step.texts(model.texts)[0]])
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    match event.action {
        Action::PlayLesson => {
            model.start_lesson();
            if model.lesson.is_none() {
                return Some(Command::Draw);
            }
        }
        Action::LessonNext => model.lesson.as_mut()?.lesson.next(),
        Action::LessonBack => model.lesson.as_mut()?.lesson.back(),
        Action::StopLesson => {
            model.stop_lesson();
            return Some(Command::Focus(id::MESSAGE));
        }
        _ => return None,
    }
    let about = model.lesson.as_ref()?.lesson.shown().0.texts(model.texts)[1];
    model.announcer.set_state(format!("{}. {about}", title(model)));
    Some(match event.action {
        Action::PlayLesson => Command::Focus(id::LESSON_NEXT),
        _ => Command::Draw,
    })
}
