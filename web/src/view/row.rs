//! A row of the transcript.

use super::{
    action::Action,
    browser,
    dom::{El, el},
};
use crate::{
    format,
    i18n::Texts,
    payload::Payload,
    transcript::{Entry, EntryKind},
};

/// The most characters or bytes of a message in its row.
const MAX_PREVIEW: usize = 160;

/// A drawn row.
pub(super) struct Row {
    /// The number of the drawn entry, and its revision.
    drawn: Option<(u64, u8)>,
    pub(super) root: El,
    cells: [El; 6],
}

impl Row {
    pub(super) fn new() -> Row {
        let classes = ["time", "sent", "received", "kind", "size", "round-trip"];
        let cells = classes.map(|class| el("span").class(class).attr("role", "gridcell"));
        let root = el("div").attr("role", "row").action(Action::ToggleRow).children(&cells);
        Row { drawn: None, root, cells }
    }

    /// Forgets the drawn entry, as when the rows of another connection are drawn.
    pub(super) fn forget(&mut self) {
        self.drawn = None;
    }

    pub(super) fn draw(&mut self, entry: &Entry, texts: &Texts) {
        let wanted = Some((entry.id, entry.kind.revision()));
        if std::mem::replace(&mut self.drawn, wanted) == wanted {
            return;
        }
        self.root.set("id", &format!("row-{}", entry.id));
        self.root.set("data-argument", &entry.id.to_string());
        let [time, sent, received, kind, size, trip] = &mut self.cells;
        time.set_text(&format::clock(entry.at, browser::minutes_ahead(entry.at)));
        let sentence = entry.kind.sentence(texts);
        self.root.set("class", if sentence.is_some() { "line note" } else { "line message" });
        let normal = !matches!(&entry.kind, EntryKind::Ended(cause) if !cause.is_normal());
        self.root.set_flag("data-normal", normal);
        let remark = entry.kind.remark(texts);
        let shown = |payload: Option<&Payload>| match payload {
            Some(payload) if payload.is_empty() => texts.empty_message.to_owned(),
            Some(payload) => format::preview(payload, MAX_PREVIEW),
            None => String::new(),
        };
        let is_note = sentence.is_some();
        sent.set_text(&sentence.unwrap_or_else(|| shown(entry.kind.sent())));
        received.set_text(&remark.map_or_else(|| shown(entry.kind.received()), str::to_owned));
        received.set_flag("data-remark", remark.is_some());
        let any = entry.kind.sent().or(entry.kind.received()).filter(|_| !is_note);
        kind.set_text(any.map_or("", |payload| texts.message_type(payload)));
        size.set_text(&any.map(|payload| format::size(payload.len() as u64)).unwrap_or_default());
        trip.set_text(&entry.kind.round_trip().map(format::span).unwrap_or_default());
    }
}
