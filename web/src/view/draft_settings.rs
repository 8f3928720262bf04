//! The settings of the draft: its notation, templates and saved messages, line ending and escapes.

use super::{
    action::Action,
    browser,
    command::Command,
    dom::{self, El, button, el, id, text},
    forms::MessageForm,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    composer::{Draft, LineEnding, Mode, template::Template},
    i18n::Texts,
};

pub(super) struct DraftSettings {
    pub(super) root: El,
    modes: [El; 3],
    templates: El,
    /// The saved messages in `templates`.
    saved: Vec<Draft>,
    save: El,
    delete: El,
    ending: El,
    escapes: El,
    /// The settings of plain text.
    plain: El,
}

/// The most saved messages.
const MAX_SAVED: usize = 50;
/// The most characters of a saved message in its list.
const MAX_NAME: usize = 40;

const MODES: [&str; 3] = ["text", "hex", "file"];

impl DraftSettings {
    pub(super) fn new(texts: &Texts) -> DraftSettings {
        let (fieldset, modes) = modes(texts);
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
        let escapes = escapes.attr("aria-label", texts.escapes_about);
        let check = el("label").class("check").attr("title", texts.escapes_about);
        let check = check.child(&escapes).plain_text(texts.escapes);
        let plain = el("div").class("plain").child(&ending).child(&check);
        let root =
            el("div").class("above").children([&fieldset, &templates, &save, &delete, &plain]);
        let saved = Vec::new();
        DraftSettings { root, modes, templates, saved, save, delete, ending, escapes, plain }
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        self.draw_saved(&model.saved, model.texts);
        let Model { connections, chosen, saved, .. } = model;
        let compose = &connections[*chosen].compose;
        let saved = saved_at(compose, saved);
        let is_text = compose.draft.mode == Mode::Text;
        let chosen = if compose.is_file { 2 } else { usize::from(!is_text) };
        for (at, input) in self.modes.iter().enumerate() {
            dom::set_checked(&input.node, at == chosen);
        }
        self.plain.show(is_text && !compose.is_file);
        self.save.show(!compose.is_file);
        self.delete.show(saved.is_some());
        let saved = saved.map(|at| format!("saved-{at}"));
        let template = compose.template.map_or("", Template::name);
        dom::set_value(&self.templates.node, saved.as_deref().unwrap_or(template));
        dom::set_value(&self.ending.node, compose.draft.ending.name());
        dom::set_checked(&self.escapes.node, compose.draft.escapes);
    }

    fn draw_saved(&mut self, saved: &[Draft], texts: &Texts) {
        if saved == self.saved {
            return;
        }
        self.saved = saved.to_vec();
        while let Some(option) = self.templates.node.query_selector("[data-saved]").ok().flatten() {
            option.remove();
        }
        for (at, draft) in saved.iter().enumerate() {
            let name: String = draft.text.chars().take(MAX_NAME).collect();
            let name = if name.is_empty() { texts.empty_message } else { &name };
            let option = text("option", name).attr("value", &format!("saved-{at}"));
            self.templates.append(&option.attr("data-saved", ""));
        }
    }
}

/// The index of the draft among the saved messages.
fn saved_at(compose: &MessageForm, saved: &[Draft]) -> Option<usize> {
    saved.iter().position(|saved| *saved == compose.draft)
}

/// The choice of the notation, and its three switches.
fn modes(texts: &Texts) -> (El, [El; 3]) {
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
    (fieldset, modes)
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let texts = model.texts;
    let compose = &mut model.connection().compose;
    match event.action {
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
                compose.is_file = false;
                return Some(Command::Focus(id::MESSAGE));
            }
        }
        Action::SaveMessage => {
            let draft = compose.draft.clone();
            model.connection().note_unless_stored(&draft, texts);
            if !model.saved.contains(&draft) {
                model.saved.push(draft);
            }
            if model.saved.len() > MAX_SAVED {
                model.saved.remove(0);
            }
        }
        Action::DeleteMessage => {
            let draft = compose.draft.clone();
            model.saved.retain(|saved| *saved != draft);
        }
        _ => return None,
    }
    Some(Command::Draw)
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
        // A draft with an error keeps its text.
        None if to == Mode::Hex => compose.draft.mode = to,
        None => texts.not_text.clone_into(&mut compose.problem),
    }
}
