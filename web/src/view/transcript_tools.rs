//! The tools of the transcript: ladder, pause, search, filter, pairing, and a menu.

use super::{
    action::Action,
    connection::{Connection, Source},
    dom::{self, El, button, el, id, text},
    model::Model,
};
use crate::{
    filter::Show,
    i18n::{Texts, fill},
    pairing::Pairing,
};

pub(super) struct TranscriptTools {
    pub(super) root: El,
    /// The error of the search.
    pub(super) problem: El,
    ladder: El,
    pause: El,
    search: El,
    pattern: El,
    show: El,
    pairing: El,
    field: El,
}

impl TranscriptTools {
    pub(super) fn new(texts: &Texts) -> TranscriptTools {
        let search = el("input").id("search").attr("type", "search").action(Action::Search);
        let label = texts.search_label;
        let search = search.attr("placeholder", texts.search).attr("aria-label", label);
        let search = search.attr("title", label);
        let pattern = button(".*", Action::TogglePattern).id("pattern").class("quiet");
        let pattern = pattern.attr("title", texts.pattern).attr("aria-label", texts.pattern);
        let problem = el("p").id("search-problem").class("notice problem").attr("role", "status");
        let show = el("select").id("show").action(Action::ShowRows).attr("aria-label", texts.show);
        let labels = [
            texts.show_all,
            texts.show_sent,
            texts.show_received,
            texts.show_events,
            texts.show_pinned,
        ];
        for (at, label) in labels.into_iter().enumerate() {
            show.append(&text("option", label).attr("value", &at.to_string()));
        }
        let (pairing, field) = pairing_fields(texts);
        let ladder = button(texts.ladder, Action::ShowLadder).id("show-ladder").class("quiet");
        let ladder = ladder.attr("title", texts.ladder_about);
        let pause = button(texts.pause, Action::PauseTranscript).id("pause").class("quiet");
        let root = el("div").class("tools").children([
            &ladder,
            &pause,
            &search,
            &pattern,
            &show,
            &pairing,
            &field,
            &menu(texts),
            &file_field(),
        ]);
        TranscriptTools { root, problem, ladder, pause, search, pattern, show, pairing, field }
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        let connection = model.connection();
        let is_seen = match &connection.source {
            Source::Socket => {
                let label = connection.label.clone();
                model.live.with_label(&label).is_some_and(|row| row.ended.is_none())
            }
            Source::File(_) => false,
            Source::Client(_) => true,
        };
        // Disabled, not hidden: the tools beside it do not move.
        self.ladder.set_flag("aria-disabled", !is_seen);
        let texts = model.texts;
        let Connection { session, view, .. } = model.connection();
        let pairing = session.pairing();
        self.pause.set_flag("aria-pressed", !view.follow);
        dom::set_value(&self.search.node, &view.text);
        self.pattern.set_flag("aria-pressed", view.is_pattern);
        let error = view.pattern_error.as_deref().unwrap_or_default();
        // Some browsers begin their message with these words, and with the pattern.
        let cause = error.rsplit(':').next().unwrap_or_default().trim_start();
        self.problem.set_text(&fill(texts.pattern_wrong, &[cause]));
        self.problem.show(!error.is_empty());
        self.search.set_if("aria-invalid", "true", !error.is_empty());
        self.search.set_if("aria-describedby", "search-problem", !error.is_empty());
        let chosen = Show::ALL.iter().position(|show| *show == view.show).unwrap_or(0);
        dom::set_value(&self.show.node, &chosen.to_string());
        dom::set_value(&self.pairing.node, pairing.name());
        self.field.show(matches!(pairing, Pairing::Field(_)));
        if let Pairing::Field(name) = pairing {
            dom::set_value(&self.field.node, name);
        }
    }
}

/// The choice of the rule for pairing replies, and the field for the name of a JSON member.
fn pairing_fields(texts: &Texts) -> (El, El) {
    let pairing = el("select").id("pairing").action(Action::SetPairing);
    let pairing = pairing.attr("aria-label", texts.pairing).attr("title", texts.pairing_about);
    for (rule, label) in [
        (Pairing::None, texts.pairing_none),
        (Pairing::Order, texts.pairing_order),
        (Pairing::Next, texts.pairing_next),
        (Pairing::Length, texts.pairing_length),
        (Pairing::Field(String::new()), texts.pairing_field),
    ] {
        pairing.append(&text("option", label).attr("value", rule.name()));
    }
    let field =
        el("input").id("pairing-field").attr("type", "text").action(Action::EditPairingField);
    let field = field
        .attr("aria-label", texts.pairing_field_name)
        .attr("placeholder", Pairing::USUAL_FIELD)
        .attr("autocapitalize", "off")
        .attr("spellcheck", "false");
    (pairing, field)
}

/// The menu of exports, the import and what is rarely needed.
fn menu(texts: &Texts) -> El {
    let entry = |label: &str, id: &str, action: Action| button(label, action).id(id);
    let menu = el("div").class("menu").children([
        &entry(texts.export_jsonl, "export-jsonl", Action::ExportTranscript)
            .attr("data-argument", "jsonl"),
        &entry(texts.export_har, "export-har", Action::ExportTranscript)
            .attr("data-argument", "har"),
        &entry(texts.load, "pick-load", Action::PickTranscript),
        &entry(texts.clear, "clear", Action::ClearTranscript),
        &entry(texts.forget, "forget", Action::Forget),
    ]);
    let summary = text("summary", texts.more).id("transcript-menu");
    el("details").class("menu-button").child(&summary).child(&menu)
}

/// The hidden field of the file to import.
fn file_field() -> El {
    let load = el("input").id(id::LOAD).attr("hidden", "").attr("type", "file");
    load.attr("accept", ".jsonl").action(Action::TranscriptPicked)
}
