//! The composer: messages, files, repetitions.

use std::ops::RangeInclusive;

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
    share_menu::ShareMenu,
    user_event::UserEvent,
};
use crate::{
    composer::{
        Draft, DraftError, LineEnding, Mode,
        pace::{self, Pace},
        template::Template,
    },
    format,
    i18n::{Texts, fill},
    json::Json,
    payload::Payload,
    time::Millis,
};

pub(super) struct Composer {
    pub(super) root: El,
    modes: [El; 3],
    templates: El,
    /// The number of saved messages in `templates`.
    saved: usize,
    save: El,
    delete: El,
    ending: El,
    escapes: El,
    /// The settings of plain text.
    plain: El,
    share: ShareMenu,
    field: El,
    field_row: El,
    send: El,
    problem: El,
    size: El,
    interval: El,
    repeat: El,
    repeat_label: &'static str,
    stop_label: &'static str,
    burst: El,
    /// The controls for repetitions and bursts, which are hidden for files.
    repetition: [El; 2],
    file: FilePanel,
}

/// Longer messages are not checked as JSON, in bytes.
const MAX_CHECKED: usize = 256 << 10;

/// The most saved messages.
const MAX_SAVED: usize = 50;

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
            texts.template_empty,
        ]) {
            templates.append(&text("option", label).attr("value", template.name()));
        }
        let save = button(texts.save_message, Action::SaveMessage).id("save-message");
        let delete = button(texts.delete_message, Action::DeleteMessage).id("delete-message");
        let (save, delete) = (save.class("quiet"), delete.class("quiet"));
        let ending = el("select").id("line-ending").action(Action::ChooseLineEnding);
        let ending = ending.attr("aria-label", texts.line_ending).attr("title", texts.line_ending);
        for it in LineEnding::ALL {
            let label = if it == LineEnding::None { texts.no_line_ending } else { it.name() };
            ending.append(&text("option", label).attr("value", it.name()));
        }
        let escapes = el("input").id("escapes").attr("type", "checkbox").action(Action::SetEscapes);
        let check = el("label").class("check").attr("title", texts.escapes_about);
        let check = check.child(&escapes).plain_text(texts.escapes);
        let plain = el("div").class("repetition").child(&ending).child(&check);
        let share = ShareMenu::new(texts);
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
        let above =
            el("div").class("above").children([&fieldset, &templates, &save, &delete, &plain]);
        let field_row = el("div").class("field-row").child(&field).child(&send);
        let below =
            el("div").class("below").children([&repetition, &bursts, &share.root, &problem, &size]);
        let file = FilePanel::new(texts);
        let root = el("form").class("composer panel").action(Action::Send).attr("novalidate", "");
        let root = root
            .attr("aria-label", texts.composer)
            .children([&above, &field_row, &file.root, &below]);
        Composer {
            root,
            modes,
            templates,
            saved: 0,
            save,
            delete,
            ending,
            escapes,
            plain,
            share,
            field,
            field_row,
            send,
            problem,
            size,
            interval,
            repeat,
            repeat_label: texts.repeat,
            stop_label: texts.stop,
            burst,
            repetition: [repetition, bursts],
            file,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let texts = model.texts;
        self.file.draw(model, now);
        self.share.draw(model);
        self.draw_saved(&model.saved, texts);
        let connection = model.connection();
        self.draw_settings(&connection.compose);
        let open = connection.session.state().takes_messages();
        let compose = &connection.compose;
        dom::set_value(&self.field.node, &compose.draft.text);
        let is_text = compose.draft.mode == Mode::Text;
        self.field.set("placeholder", if is_text { texts.type_message } else { texts.type_bytes });
        let payload = compose.draft.payload();
        let error = payload.as_ref().err().copied();
        let unfinished = error.is_some_and(|error| compose.draft.is_unfinished(error));
        self.field.set_if("aria-invalid", "true", error.is_some() && !unfinished);
        let may_send = (open || connection.can_connect()) && !compose.is_nothing();
        self.send.set_flag("aria-disabled", !(may_send && payload.is_ok()));
        let quiet = unfinished || compose.problem.is_empty() && payload.is_ok();
        self.problem.set("class", if quiet { "" } else { "problem" });
        self.problem.set_text(&status(connection, error, texts));
        let size = payload.as_ref().map(|payload| size(&compose.draft, payload, texts));
        self.size.set_text(&if compose.is_file { String::new() } else { size.unwrap_or_default() });
    }

    fn draw_settings(&mut self, compose: &MessageForm) {
        let is_text = compose.draft.mode == Mode::Text;
        let chosen = if compose.is_file { 2 } else { usize::from(!is_text) };
        for (at, input) in self.modes.iter().enumerate() {
            dom::set_checked(&input.node, at == chosen);
        }
        self.field_row.show(!compose.is_file);
        self.plain.show(is_text && !compose.is_file);
        self.share.root.show(!compose.is_file);
        self.save.show(!compose.is_file);
        self.delete.show(compose.saved.is_some());
        // What is being repeated can be stopped at any time.
        let repeats = compose.repeated.is_some();
        self.repetition[0].show(!compose.is_file || repeats);
        self.repetition[1].show(!compose.is_file);
        let saved = compose.saved.map(|at| format!("saved-{at}"));
        let template = compose.template.map_or("", Template::name);
        dom::set_value(&self.templates.node, saved.as_deref().unwrap_or(template));
        dom::set_value(&self.ending.node, compose.draft.ending.name());
        dom::set_checked(&self.escapes.node, compose.draft.escapes);
        dom::set_value(&self.interval.node, &compose.interval);
        dom::set_value(&self.burst.node, &compose.burst);
        self.repeat.set_flag("aria-pressed", repeats);
        let label = if repeats { self.stop_label } else { self.repeat_label };
        self.repeat.set_text(label);
    }

    fn draw_saved(&mut self, saved: &[Draft], texts: &Texts) {
        if saved.len() == self.saved {
            return;
        }
        self.saved = saved.len();
        while let Some(option) = self.templates.node.query_selector("[data-saved]").ok().flatten() {
            option.remove();
        }
        for (at, draft) in saved.iter().enumerate() {
            let name: String = draft.text.chars().take(40).collect();
            let name = if name.is_empty() { texts.empty_message } else { &name };
            let option = text("option", name).attr("value", &format!("saved-{at}"));
            self.templates.append(&option.attr("data-saved", ""));
        }
    }
}

/// The size and the kind of the message, its line ending, and whether it is JSON.
fn size(draft: &Draft, payload: &Payload, texts: &Texts) -> String {
    let kind = texts.message_type(payload);
    let mut size = match payload.len() {
        0 => return fill(texts.empty_of, &[kind]),
        bytes => fill(texts.size_of, &[&texts.bytes(bytes as u64), kind]),
    };
    if draft.mode == Mode::Text && draft.ending != LineEnding::None {
        size.push_str(&format!(", {}", draft.ending.name()));
    }
    if let Some(text) = payload.as_text().filter(|text| text.len() < MAX_CHECKED)
        && text.trim_start().starts_with(['{', '['])
    {
        let check = match Json::error_at(text) {
            None => texts.json_valid.to_owned(),
            Some(at) => fill(texts.json_wrong, &[&at.to_string()]),
        };
        size.push_str(&format!(", {check}"));
    }
    size
}

/// The status of the draft: an error, or else what is waiting or being repeated.
fn status(connection: &Connection, error: Option<DraftError>, texts: &Texts) -> String {
    let compose = &connection.compose;
    let waiting = connection.session.queued() as u64;
    if let Some((_, pace)) = &compose.repeated {
        fill(texts.repeating, &[&format::grouped(pace.sent())])
    } else if compose.is_file {
        String::new()
    } else if let Some(error) = error {
        error.sentence(texts)
    } else if !compose.problem.is_empty() {
        compose.problem.clone()
    } else if waiting > 0 {
        fill(texts.waiting_here, &[&texts.messages(waiting)])
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
            compose.edited();
        }
        Action::ChooseMode => choose_mode(compose, &event.argument, texts),
        Action::ChooseLineEnding => compose.draft.ending = LineEnding::of_name(&event.value()),
        Action::SetEscapes => compose.draft.escapes = dom::is_checked(&event.node),
        Action::ChooseTemplate => {
            let name = event.value();
            let saved = name.strip_prefix("saved-").and_then(|at| at.parse::<usize>().ok());
            let draft = saved.and_then(|at| model.saved.get(at)).cloned();
            let compose = &mut model.connection().compose;
            compose.edited();
            compose.template = Template::ALL.into_iter().find(|template| template.name() == name);
            let template = compose.template.map(|template| template.draft(browser::now()));
            if let Some(draft) = draft.or(template) {
                compose.draft = draft;
                compose.saved = saved;
                compose.is_file = false;
                return Some(Command::Focus(id::MESSAGE));
            }
        }
        Action::SaveMessage => {
            let draft = compose.draft.clone();
            model.saved.retain(|saved| *saved != draft);
            model.saved.push(draft);
            if model.saved.len() > MAX_SAVED {
                model.saved.remove(0);
            }
            let last = model.saved.len() - 1;
            model.connection().compose.saved = Some(last);
        }
        Action::DeleteMessage => {
            if let Some(at) = compose.saved.take().filter(|at| *at < model.saved.len()) {
                model.saved.remove(at);
            }
        }
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

fn choose_mode(compose: &mut MessageForm, mode: &str, texts: &Texts) {
    compose.is_file = mode == "file";
    compose.problem.clear();
    let to = if mode == "hex" { Mode::Hex } else { Mode::Text };
    if compose.is_file || compose.draft.mode == to {
        return;
    }
    match compose.draft.convert(to) {
        Some(draft) => {
            compose.draft = draft;
            compose.template = None;
        }
        // Digits that are no bytes yet are not lost either.
        None if to == Mode::Hex => compose.draft.mode = to,
        None => texts.not_text.clone_into(&mut compose.problem),
    }
}
