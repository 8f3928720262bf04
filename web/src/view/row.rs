//! A row of the transcript.

use super::{
    browser,
    dom::{El, el},
};
use crate::{
    format,
    payload::Payload,
    transcript::{Entry, What},
    words::{Words, fill},
};

/// The most characters or bytes of a message in its row.
const PREVIEW: usize = 160;

/// A row as drawn.
pub(super) struct Row {
    /// What is drawn: the entry's number, and how far it had come.
    drawn: Option<(u64, u8)>,
    pub(super) root: El,
    cells: [El; 6],
}

impl Row {
    pub(super) fn new() -> Row {
        let classes = ["time", "sent", "received", "kind", "size", "round-trip"];
        let cells = classes.map(|class| el("span").class(class).attr("role", "gridcell"));
        let root = el("div").attr("role", "row").attr("data-do", "row").all(&cells);
        Row { drawn: None, root, cells }
    }

    /// The entry of that number may be another's from now on.
    pub(super) fn forget(&mut self) {
        self.drawn = None;
    }

    pub(super) fn draw(&mut self, entry: &Entry, words: &Words) {
        let wanted = Some((entry.id, entry.what.stage()));
        if std::mem::replace(&mut self.drawn, wanted) == wanted {
            return;
        }
        self.root.set("id", &format!("row-{}", entry.id));
        self.root.set("data-with", &entry.id.to_string());
        let [time, sent, received, kind, size, trip] = &mut self.cells;
        time.set_text(&format::clock(entry.at, browser::minutes_ahead(entry.at)));
        let sentence = sentence(&entry.what, words);
        self.root.set("class", if sentence.is_some() { "line note" } else { "line message" });
        let calm = !matches!(&entry.what, What::Ended(ending) if !ending.is_calm());
        self.root.set("data-calm", if calm { "true" } else { "false" });
        let remark = entry.what.remark(words);
        let shown = |payload: Option<&Payload>| match payload {
            Some(payload) if payload.is_empty() => words.empty_message.to_owned(),
            Some(payload) => format::preview(payload, PREVIEW),
            None => String::new(),
        };
        let is_note = sentence.is_some();
        sent.set_text(&sentence.unwrap_or_else(|| shown(entry.what.sent())));
        received.set_text(&remark.map_or_else(|| shown(entry.what.received()), str::to_owned));
        received.set("data-remark", if remark.is_some() { "true" } else { "false" });
        let any = entry.what.sent().or(entry.what.received()).filter(|_| !is_note);
        kind.set_text(any.map_or("", |payload| kind_of(payload, words)));
        size.set_text(&any.map(|payload| format::size(payload.len() as u64)).unwrap_or_default());
        trip.set_text(&entry.what.round_trip().map(format::span).unwrap_or_default());
    }
}

pub(super) fn kind_of(payload: &Payload, words: &Words) -> &'static str {
    match payload {
        Payload::Text(_) => words.text,
        Payload::Binary(_) => words.binary,
    }
}

/// What a row says that is about the connection.
pub(super) fn sentence(what: &What, words: &Words) -> Option<String> {
    match what {
        What::Opened { url, protocol } if protocol.is_empty() => {
            Some(fill(words.connected_to, &[url]))
        }
        What::Opened { url, protocol } => Some(fill(words.connected_protocol, &[url, protocol])),
        What::HalfClosed { by_us: true } => Some(words.we_half_closed.to_owned()),
        What::HalfClosed { by_us: false } => Some(words.they_half_closed.to_owned()),
        What::Ended(ending) => Some(ending.sentences(words)),
        What::Sent(..) | What::Received(_) => None,
    }
}
