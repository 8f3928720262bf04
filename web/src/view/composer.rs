//! The composer: messages, files, repetitions.

use std::ops::RangeInclusive;

use echogate_proto::hex::HexError;

use super::{
    action::Action,
    browser,
    command::Command,
    connection::Connection,
    dom::{self, El, button, el, id, text},
    file_panel::FilePanel,
    forms::MessageForm,
    keys,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    composer::{
        self, Mode,
        history::Draft,
        pace::{self, Pace},
        template::Template,
    },
    format,
    i18n::{Texts, fill},
    time::Millis,
};

pub(super) struct Composer {
    pub(super) root: El,
    modes: [El; 3],
    templates: El,
    field: El,
    field_row: El,
    send: El,
    problem: El,
    size: El,
    interval: El,
    repeat: El,
    burst: El,
    /// The controls for repetitions and bursts, which are hidden for files.
    repetition: [El; 2],
    file: FilePanel,
}

const MODES: [&str; 3] = ["text", "hex", "file"];

impl Composer {
    pub(super) fn new(texts: &'static Texts) -> Composer {
        let modes = MODES.map(|mode| {
            let id = format!("mode-{mode}");
            el("input")
                .id(&id)
                .attr("type", "radio")
                .attr("name", "mode")
                .action(Action::ChooseMode)
                .attr("data-argument", mode)
        });
        let fieldset =
            el("fieldset").class("modes").child(&text("legend", texts.send_as).class("unseen"));
        for ((input, mode), label) in
            modes.iter().zip(MODES).zip([texts.mode_text, texts.mode_hex, texts.mode_file])
        {
            fieldset.append(input);
            fieldset.append(&text("label", label).attr("for", &format!("mode-{mode}")));
        }
        let templates = el("select")
            .id("template")
            .action(Action::ChooseTemplate)
            .attr("aria-label", texts.template);
        templates.append(&text("option", texts.template_pick).attr("value", ""));
        for (template, label) in Template::ALL.into_iter().zip([
            texts.template_time,
            texts.template_large,
            texts.template_emoji,
            texts.template_invalid,
        ]) {
            templates.append(&text("option", label).attr("value", template.name()));
        }
        let keys = text("p", texts.keys_hint).class("keys").attr("aria-hidden", "true");
        let field = el("textarea").id(id::MESSAGE).attr("rows", "2").action(Action::EditMessage);
        let field = field.attr("autocomplete", "off").attr("autocapitalize", "off");
        let field = field.attr("spellcheck", "false").attr("aria-label", texts.message);
        let field = field.attr("aria-describedby", "composer-problem composer-size");
        let send = text("button", texts.send).id("send").class("primary").attr("type", "submit");
        let problem = el("span").id("composer-problem").attr("aria-live", "polite");
        let size = el("span").id("composer-size");
        let number = |action: Action, most: u32| {
            let input = el("input").id(action.name()).attr("type", "number").action(action);
            input.attr("min", "1").attr("max", &most.to_string()).attr("step", "1")
        };
        let interval = number(Action::EditInterval, *pace::EVERY.end());
        let burst = number(Action::EditBurst, *pace::BURST.end());
        let repeat = button(texts.repeat, Action::ToggleRepeat).id("repeat").class("quiet");
        let label = |of: &str, content: &str| text("label", content).attr("for", of);
        let repetition = el("div").class("repetition").children([
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
        let above = el("div").class("above").children([&fieldset, &templates, &keys]);
        let field_row = el("div").class("field-row").child(&field).child(&send);
        let below = el("div").class("below").children([&repetition, &bursts, &problem, &size]);
        let file = FilePanel::new(texts);
        let root = el("form").class("composer panel").action(Action::Send).attr("novalidate", "");
        let root = root
            .attr("aria-label", texts.composer)
            .children([&above, &field_row, &file.root, &below]);
        Composer {
            root,
            modes,
            templates,
            field,
            field_row,
            send,
            problem,
            size,
            interval,
            repeat,
            burst,
            repetition: [repetition, bursts],
            file,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let texts = model.texts;
        self.file.draw(model, now);
        let connection = model.connection();
        let open = connection.session.state().takes_messages();
        let compose = &connection.compose;
        let Draft { mode, text } = &compose.draft;
        let chosen = if compose.is_file { 2 } else { usize::from(*mode == Mode::Hex) };
        for (at, input) in self.modes.iter().enumerate() {
            dom::set_checked(&input.node, at == chosen);
        }
        self.field_row.show(!compose.is_file);
        self.repetition.iter_mut().for_each(|row| row.show(!compose.is_file));
        dom::set_value(&self.templates.node, compose.template.map_or("", Template::name));
        dom::set_value(&self.field.node, text);
        self.field.set(
            "placeholder",
            if *mode == Mode::Text { texts.type_message } else { texts.type_bytes },
        );
        let payload = composer::payload(*mode, text);
        let unfinished =
            payload.as_ref().is_err_and(|&problem| composer::is_unfinished(text, problem));
        let wrong = payload.is_err() && !unfinished;
        self.field.set_if("aria-invalid", "true", wrong);
        let may_send = open || connection.can_connect();
        self.send.set_flag("aria-disabled", !(may_send && payload.is_ok()));
        dom::set_value(&self.interval.node, &compose.interval);
        dom::set_value(&self.burst.node, &compose.burst);
        self.repeat.set_text(if compose.pace.is_some() { texts.stop } else { texts.repeat });
        self.repeat.set_flag("aria-pressed", compose.pace.is_some());
        self.problem.set(
            "class",
            if unfinished || compose.problem.is_empty() && payload.is_ok() {
                ""
            } else {
                "problem"
            },
        );
        self.problem.set_text(&status(connection, payload.as_ref().err().copied(), texts));
        let size = payload.as_ref().map(|payload| match payload.len() {
            0 => fill(texts.empty_of, &[texts.message_type(payload)]),
            bytes => {
                fill(texts.size_of, &[&texts.bytes(bytes as u64), texts.message_type(payload)])
            }
        });
        self.size.set_text(&if compose.is_file { String::new() } else { size.unwrap_or_default() });
    }
}

/// The status of the draft: an error, or else what is waiting or being repeated.
fn status(connection: &Connection, error: Option<HexError>, texts: &Texts) -> String {
    let compose = &connection.compose;
    let waiting = connection.session.queued() as u64;
    if compose.is_file {
        String::new()
    } else if let Some(error) = error {
        composer::hex_error(texts, error)
    } else if !compose.problem.is_empty() {
        compose.problem.clone()
    } else if waiting > 0 {
        fill(texts.waiting_here, &[&texts.messages(waiting)])
    } else if let Some(pace) = &compose.pace {
        fill(texts.repeating, &[&format::grouped(pace.sent())])
    } else if compose.template.is_some_and(Template::is_refreshed) {
        texts.refreshed.to_owned()
    } else {
        String::new()
    }
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let texts = model.texts;
    let connection = model.connection();
    let compose = &mut connection.compose;
    match event.action {
        Action::Send => {
            event.prevent_default();
            // Enter in any field submits the form.
            if !compose.is_file {
                return Some(connection.send_or_connect(texts));
            }
        }
        Action::MessageKey => return keys::on_key(connection, event, texts),
        Action::EditMessage => {
            compose.draft.text = event.value();
            (compose.template, compose.problem) = (None, String::new());
        }
        Action::ChooseMode => choose_mode(compose, &event.argument),
        Action::ChooseTemplate => {
            let name = event.value();
            compose.template = Template::ALL.into_iter().find(|template| template.name() == name);
            if let Some(template) = compose.template {
                compose.draft = template.draft(browser::now());
                compose.is_file = false;
                return Some(Command::Focus(id::MESSAGE));
            }
        }
        Action::EditInterval => compose.interval = event.value(),
        Action::EditBurst => compose.burst = event.value(),
        Action::ToggleRepeat => toggle_repeat(connection, texts),
        Action::SendBurst => match pace::parse_number(&compose.burst, &pace::BURST) {
            Some(number) => {
                let _all = (0..number).all(|at| connection.send_draft(texts, at == 0));
            }
            None => compose.problem = range_error(texts, &pace::BURST),
        },
        _ => return None,
    }
    Some(Command::Draw)
}

fn toggle_repeat(connection: &mut Connection, texts: &Texts) {
    let compose = &mut connection.compose;
    if compose.pace.take().is_some() {
        return;
    }
    match pace::parse_number(&compose.interval, &pace::EVERY) {
        Some(_) if !connection.session.state().takes_messages() => {
            texts.not_connected_send.clone_into(&mut compose.problem);
        }
        Some(interval) => {
            compose.problem.clear();
            compose.pace = Some(Pace::new(f64::from(interval), browser::now()));
        }
        None => compose.problem = range_error(texts, &pace::EVERY),
    }
}

fn range_error(texts: &Texts, range: &RangeInclusive<u32>) -> String {
    let ends = [format::grouped((*range.start()).into()), format::grouped((*range.end()).into())];
    fill(texts.number_wrong, &[&ends[0], &ends[1]])
}

fn choose_mode(compose: &mut MessageForm, mode: &str) {
    compose.is_file = mode == "file";
    if compose.is_file {
        return;
    }
    let to = if mode == "hex" { Mode::Hex } else { Mode::Text };
    let Draft { mode: from, text } = &compose.draft;
    if *from != to {
        let text = composer::convert(text, *from, to).unwrap_or_else(|| text.clone());
        compose.draft = Draft { mode: to, text };
        compose.template = None;
    }
}
