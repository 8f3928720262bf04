//! Where messages are written.

use super::{
    act::Act,
    app::App,
    browser,
    dom::{self, El, button, el, text},
    file::FilePanel,
    keys,
    model::Model,
    parts::Compose,
    row::kind_of,
    wire::Wire,
};
use crate::{
    composer::{
        self, Mode,
        history::Draft,
        pace::{self, Pace},
        template::Template,
    },
    format,
    time::Millis,
    words::{Words, fill},
};

/// The id of the field that messages are written in.
pub(super) const FIELD: &str = "message";

pub(super) struct Composer {
    pub(super) root: El,
    modes: [El; 3],
    templates: El,
    field: El,
    written: El,
    send: El,
    problem: El,
    size: El,
    every: El,
    repeat: El,
    burst: El,
    /// Repeats and bursts: of what is written, not of files.
    again: [El; 2],
    file: FilePanel,
}

const MODES: [&str; 3] = ["text", "hex", "file"];

impl Composer {
    pub(super) fn new(words: &'static Words) -> Composer {
        let modes = MODES.map(|mode| {
            let id = format!("mode-{mode}");
            el("input")
                .id(&id)
                .attr("type", "radio")
                .attr("name", "mode")
                .attr("data-do", "mode")
                .attr("data-with", mode)
        });
        let fieldset =
            el("fieldset").class("modes").with(&text("legend", words.send_as).class("unseen"));
        for ((input, mode), said) in
            modes.iter().zip(MODES).zip([words.mode_text, words.mode_hex, words.mode_file])
        {
            fieldset.append(input);
            fieldset.append(&text("label", said).attr("for", &format!("mode-{mode}")));
        }
        let templates = el("select")
            .id("template")
            .attr("data-do", "template")
            .attr("aria-label", words.template);
        templates.append(&text("option", words.template_pick).attr("value", ""));
        for (template, said) in Template::ALL.into_iter().zip([
            words.template_time,
            words.template_large,
            words.template_emoji,
            words.template_invalid,
        ]) {
            templates.append(&text("option", said).attr("value", template.name()));
        }
        let keys = text("p", words.keys_hint).class("keys").attr("aria-hidden", "true");
        let field = el("textarea").id(FIELD).attr("rows", "2").attr("data-do", "message");
        let field = field.attr("autocomplete", "off").attr("autocapitalize", "off");
        let field = field.attr("spellcheck", "false").attr("aria-label", words.message);
        let field = field.attr("aria-describedby", "composer-problem composer-size");
        let send = text("button", words.send).id("send").class("primary").attr("type", "submit");
        let problem = el("span").id("composer-problem").attr("aria-live", "polite");
        let size = el("span").id("composer-size");
        let number = |id: &str, most: u32| {
            let input = el("input").id(id).attr("type", "number").attr("data-do", id);
            input.attr("min", "1").attr("max", &most.to_string()).attr("step", "1")
        };
        let every = number("every", *pace::EVERY.end());
        let burst = number("burst", *pace::BURST.end());
        let repeat = button(words.repeat, "repeat").id("repeat").class("quiet");
        let label = |of: &str, said: &str| text("label", said).attr("for", of);
        let again = el("div").class("again").all([
            &repeat,
            &label("every", words.repeat_every),
            &every,
            &text("span", words.repeat_millis),
        ]);
        let bursts = el("div").class("again").all([
            &button(words.burst, "burst-send").id("burst-send").class("quiet"),
            &label("burst", words.burst_of),
            &burst,
        ]);
        let above = el("div").class("above").all([&fieldset, &templates, &keys]);
        let written = el("div").class("written").with(&field).with(&send);
        let below = el("div").class("below").all([&again, &bursts, &problem, &size]);
        let file = FilePanel::new(words);
        let root =
            el("form").class("composer panel").attr("data-do", "send").attr("novalidate", "");
        let root =
            root.attr("aria-label", words.composer).all([&above, &written, &file.root, &below]);
        Composer {
            root,
            modes,
            templates,
            field,
            written,
            send,
            problem,
            size,
            every,
            repeat,
            burst,
            again: [again, bursts],
            file,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let words = model.words;
        self.file.draw(model, now);
        let wire = model.wire();
        let open = wire.session.state().takes_messages();
        let compose = &wire.compose;
        let Draft { mode, text } = &compose.draft;
        let chosen = if compose.is_file { 2 } else { usize::from(*mode == Mode::Hex) };
        for (at, input) in self.modes.iter().enumerate() {
            dom::set_checked(&input.node, at == chosen);
        }
        self.written.show(!compose.is_file);
        self.again.iter_mut().for_each(|row| row.show(!compose.is_file));
        dom::set_value(&self.templates.node, compose.template.map_or("", Template::name));
        dom::set_value(&self.field.node, text);
        self.field.set(
            "placeholder",
            if *mode == Mode::Text { words.type_message } else { words.type_bytes },
        );
        let payload = composer::payload(*mode, text);
        let unfinished =
            payload.as_ref().is_err_and(|&problem| composer::is_unfinished(text, problem));
        let wrong = payload.is_err() && !unfinished;
        self.field.set_if("aria-invalid", "true", wrong);
        self.send.set("aria-disabled", if open && payload.is_ok() { "false" } else { "true" });
        dom::set_value(&self.every.node, &compose.every);
        dom::set_value(&self.burst.node, &compose.burst);
        self.repeat.set_text(if compose.pace.is_some() { words.stop } else { words.repeat });
        self.repeat.set("aria-pressed", if compose.pace.is_some() { "true" } else { "false" });
        self.problem.set(
            "class",
            if unfinished || compose.problem.is_empty() && payload.is_ok() {
                ""
            } else {
                "problem"
            },
        );
        self.problem.set_text(&told(wire, payload.as_ref().err().copied(), words));
        let size = payload.as_ref().map(|payload| match payload.len() {
            0 => fill(words.empty_of, &[kind_of(payload, words)]),
            bytes => fill(words.size_of, &[&words.bytes(bytes as u64), kind_of(payload, words)]),
        });
        self.size.set_text(&if compose.is_file { String::new() } else { size.unwrap_or_default() });
    }
}

/// What there is to tell about the draft, the worst first.
fn told(wire: &Wire, problem: Option<echogate_proto::hex::HexError>, words: &Words) -> String {
    let compose = &wire.compose;
    let waiting = wire.session.queued() as u64;
    if compose.is_file {
        String::new()
    } else if let Some(problem) = problem {
        composer::problem(words, problem)
    } else if !compose.problem.is_empty() {
        compose.problem.clone()
    } else if waiting > 0 {
        fill(words.waiting_here, &[&words.messages(waiting)])
    } else if let Some(pace) = &compose.pace {
        fill(words.repeating, &[&format::grouped(pace.sent())])
    } else if compose.template.is_some_and(Template::is_fresh_each_time) {
        words.made_anew.to_owned()
    } else {
        String::new()
    }
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    let words = app.model.words;
    let wire = app.model.wire();
    let compose = &mut wire.compose;
    if act.asks("send") {
        act.handled();
        // In a form, a press on any field's Enter ends up here.
        if act.kind == "submit" && !compose.is_file {
            send(wire, words);
            browser::focus(FIELD);
        }
    } else if act.is("keydown", "message") {
        return keys::key(wire, act, words);
    } else if act.is("input", "message") {
        compose.draft.text = act.value();
        (compose.template, compose.problem) = (None, String::new());
    } else if act.is("change", "mode") {
        choose_mode(compose, &act.with);
    } else if act.is("change", "template") {
        let name = act.value();
        compose.template = Template::ALL.into_iter().find(|template| template.name() == name);
        if let Some(template) = compose.template {
            compose.draft = template.draft(browser::now());
            compose.is_file = false;
            browser::focus(FIELD);
        }
    } else if act.is("input", "every") {
        compose.every = act.value();
    } else if act.is("input", "burst") {
        compose.burst = act.value();
    } else if act.asks("repeat") {
        repeat(wire, words);
    } else if act.asks("burst-send") {
        match pace::number(&compose.burst, &pace::BURST) {
            Some(number) => {
                let _all = (0..number).all(|at| wire.send_draft(words, at == 0));
            }
            None => compose.problem = wanted(words, &pace::BURST),
        }
    } else {
        return false;
    }
    true
}

pub(super) fn send(wire: &mut Wire, words: &Words) {
    if wire.send_draft(words, true) && wire.compose.template.is_none() {
        wire.compose.draft.text.clear();
    }
}

fn repeat(wire: &mut Wire, words: &Words) {
    let compose = &mut wire.compose;
    if compose.pace.take().is_some() {
        return;
    }
    match pace::number(&compose.every, &pace::EVERY) {
        Some(_) if !wire.session.state().takes_messages() => {
            words.not_connected_send.clone_into(&mut compose.problem);
        }
        Some(every) => {
            compose.problem.clear();
            compose.pace = Some(Pace::new(f64::from(every), browser::now()));
        }
        None => compose.problem = wanted(words, &pace::EVERY),
    }
}

fn wanted(words: &Words, range: &std::ops::RangeInclusive<u32>) -> String {
    let ends = [format::grouped((*range.start()).into()), format::grouped((*range.end()).into())];
    fill(words.number_wrong, &[&ends[0], &ends[1]])
}

fn choose_mode(compose: &mut Compose, mode: &str) {
    compose.is_file = mode == "file";
    if compose.is_file {
        return;
    }
    let to = if mode == "hex" { Mode::Hex } else { Mode::Text };
    let Draft { mode: from, text } = &compose.draft;
    if *from != to {
        let text = composer::rewrite(text, *from, to).unwrap_or_else(|| text.clone());
        compose.draft = Draft { mode: to, text };
        compose.template = None;
    }
}
