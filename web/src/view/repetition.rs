//! Repeated sending: at an interval, and many messages at once.

use std::ops::RangeInclusive;

use super::{
    action::Action,
    browser,
    command::Command,
    connection::Connection,
    dom::{self, El, button, el, text},
    forms::MessageForm,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    composer::pace::{self, Pace},
    format,
    i18n::{Texts, fill},
};

pub(super) struct Repetition {
    /// The controls of repetitions, and those of bursts.
    pub(super) roots: [El; 2],
    interval: El,
    repeat: El,
    burst: El,
}

impl Repetition {
    pub(super) fn new(texts: &Texts) -> Repetition {
        let number = |action: Action, name: String, most: u32| {
            let input = el("input").id(action.name()).attr("type", "number").action(action);
            let input = input.attr("aria-label", &name);
            input.attr("min", "1").attr("max", &most.to_string()).attr("step", "1")
        };
        let interval = number(
            Action::EditInterval,
            format!("{} {} {}", texts.repeat, texts.repeat_every, texts.repeat_millis),
            *pace::EVERY.end(),
        );
        let name = format!("{} {}", texts.burst, texts.burst_of);
        let burst = number(Action::EditBurst, name, *pace::BURST.end());
        let repeat = button(texts.repeat, Action::ToggleRepeat).id("repeat").class("quiet");
        let label = |of: &str, content: &str| text("label", content).attr("for", of);
        let repeats = el("div").class("repetition").children([
            &repeat,
            &label(Action::EditInterval.name(), texts.repeat_every),
            &interval,
            &text("span", texts.repeat_millis),
        ]);
        let bursts = el("div").class("repetition").children([
            &button(texts.burst, Action::SendBurst).id("burst-send").class("quiet"),
            &label(Action::EditBurst.name(), texts.burst_of),
            &burst,
        ]);
        Repetition { roots: [repeats, bursts], interval, repeat, burst }
    }

    /// Draws. Without a message to send there are no bursts: the error takes their place.
    pub(super) fn draw(&mut self, compose: &MessageForm, has_message: bool, texts: &Texts) {
        // What is being repeated can be stopped at any time.
        let repeats = compose.repeated.is_some();
        self.roots[0].show(!compose.is_file || repeats);
        self.roots[1].show(!compose.is_file && has_message);
        dom::set_value(&self.interval.node, &compose.interval);
        dom::set_value(&self.burst.node, &compose.burst);
        // The label says what the button does: "Stop, pressed" would be read otherwise.
        self.repeat.set_flag("data-pressed", repeats);
        self.repeat.set_text(if repeats { texts.stop } else { texts.repeat });
    }
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let texts = model.texts;
    let connection = model.connection();
    let compose = &mut connection.compose;
    match event.action {
        Action::EditInterval => compose.interval = event.value(),
        Action::EditBurst => compose.burst = event.value(),
        Action::ToggleRepeat => toggle_repeat(connection, texts),
        Action::SendBurst => match pace::parse_number(&compose.burst, &pace::BURST) {
            Some(number) => {
                let draft = compose.draft.clone();
                compose.history.borrow_mut().push(draft.clone());
                let _all = (0..number).all(|_| connection.send_message(&draft, texts));
            }
            None => compose.problem = range_error(texts, &pace::BURST),
        },
        _ => return None,
    }
    Some(Command::Draw)
}

fn toggle_repeat(connection: &mut Connection, texts: &Texts) {
    let compose = &mut connection.compose;
    if compose.repeated.take().is_some() {
        return;
    }
    match pace::parse_number(&compose.interval, &pace::EVERY) {
        Some(_) if !connection.session.state().takes_messages() => {
            texts.not_connected_send.clone_into(&mut compose.problem);
        }
        Some(interval) => {
            compose.problem.clear();
            let pace = Pace::new(f64::from(interval), browser::now());
            compose.repeated = Some((compose.draft.clone(), pace));
            compose.repeated_template = compose.template.filter(|template| template.is_refreshed());
        }
        None => compose.problem = range_error(texts, &pace::EVERY),
    }
}

fn range_error(texts: &Texts, range: &RangeInclusive<u32>) -> String {
    let ends = [format::grouped((*range.start()).into()), format::grouped((*range.end()).into())];
    fill(texts.number_wrong, &[&ends[0], &ends[1]])
}
