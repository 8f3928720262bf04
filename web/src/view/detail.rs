//! An opened row: both messages in full, as text and as a dump with the differences marked.

use super::{
    action::Action,
    dom::{El, button, el, text},
};
use crate::{
    format,
    hexdump::{self, Run},
    i18n::{Texts, fill},
    payload::Payload,
    transcript::{Entry, EntryKind},
};

/// The most bytes of a message in a dump.
const MAX_DUMPED: usize = 2048;
/// The most characters of a message shown as text.
const MAX_WRITTEN: usize = 20_000;

pub(super) struct Detail {
    pub(super) root: El,
    /// The drawn row, its revision, and whether it was pinned.
    drawn: Option<(u64, u8, bool)>,
}

impl Detail {
    pub(super) fn new() -> Detail {
        let root = el("section").id("detail").class("detail").attr("hidden", "");
        Detail { root, drawn: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.drawn.is_some()
    }

    /// Draws the opened row; returns whether it is another one than before.
    pub(super) fn draw(&mut self, entry: Option<&Entry>, pinned: bool, texts: &Texts) -> bool {
        let before = self.drawn.map(|(id, ..)| id);
        self.redraw(entry, pinned, texts);
        entry.is_some_and(|entry| before != Some(entry.id))
    }

    fn redraw(&mut self, entry: Option<&Entry>, pinned: bool, texts: &Texts) {
        let wanted = entry.map(|entry| (entry.id, entry.kind.revision(), pinned));
        if wanted == self.drawn {
            return;
        }
        self.drawn = wanted;
        self.root.empty();
        self.root.show(wanted.is_some());
        let Some(entry) = entry else { return };
        let title = fill(texts.row, &[&format::grouped(entry.id + 1)]);
        self.root.set("aria-label", &title);
        self.root.append(&head(entry, &title, pinned, texts));
        if let Some(sentence) = entry.kind.sentence(texts) {
            self.root.append(&text("p", &sentence).class("summary"));
            if let EntryKind::Ended(cause) = &entry.kind {
                self.root.append(&text("p", cause.advice(texts)).class("details advice"));
            }
            return;
        }
        let (sent, received) = (entry.kind.sent(), entry.kind.received());
        if let Some((sent, received)) = sent.zip(received) {
            self.root.append(&text("p", &summary(sent, received, texts)).class("summary"));
        }
        let both = el("div").class("both");
        if let Some(sent) = sent {
            both.append(&side(texts.sent, sent, received, texts));
        }
        if let Some(received) = received {
            both.append(&side(texts.received, received, sent, texts));
        }
        self.root.append(&both);
    }
}

fn head(entry: &Entry, title: &str, pinned: bool, texts: &Texts) -> El {
    let head = el("header").child(&text("h3", title));
    let action = |label: &str, action: Action| {
        button(label, action)
            .id(action.name())
            .class("quiet")
            .attr("data-argument", &entry.id.to_string())
    };
    let tools = el("div").class("tools");
    tools.append(&action(if pinned { texts.unpin } else { texts.pin }, Action::PinRow));
    if entry.kind.sent().or(entry.kind.received()).is_some() {
        tools.append(&action(texts.copy, Action::CopyRow));
    }
    if entry.kind.sent().is_some() {
        tools.append(&action(texts.send_again, Action::EditRow));
    }
    tools.append(&action(texts.close, Action::CloseRow));
    head.child(&tools)
}

fn summary(sent: &Payload, received: &Payload, texts: &Texts) -> String {
    match hexdump::differences(sent.bytes(), received.bytes()) {
        0 => texts.same_reply.to_owned(),
        n => {
            let all = texts.bytes(sent.len().max(received.len()) as u64);
            fill(texts.changed_bytes, &[&format::grouped(n as u64), &all])
        }
    }
}

/// One message: as text if it has more than its row shows, and as a dump.
fn side(title: &str, payload: &Payload, other: Option<&Payload>, texts: &Texts) -> El {
    let bytes = payload.bytes();
    let about = format!("{} · {}", texts.message_type(payload), texts.bytes(bytes.len() as u64));
    let caption = text("figcaption", title).plain_text(" ").child(&text("small", &about));
    let figure = el("figure").child(&caption);
    if let Payload::Text(written) = payload
        && (written.contains('\n') || written.chars().count() > 40)
    {
        let written: String = written.chars().take(MAX_WRITTEN).collect();
        figure
            .append(&text("pre", &written).class("text").attr("dir", "auto").attr("tabindex", "0"));
    }
    let pre = el("pre").class("hexdump").attr("tabindex", "0");
    for line in hexdump::lines(bytes, other.map(Payload::bytes), MAX_DUMPED) {
        pre.append(&text("span", &format!("{:04x}  ", line.offset)).class("offset"));
        runs(&pre, line.digits, " ");
        let pre = pre.clone().plain_text(&line.padding).plain_text("  ");
        runs(&pre, line.ascii, "");
        let _ended = pre.plain_text("\n");
    }
    figure.append(&pre);
    if bytes.len() > MAX_DUMPED {
        let parts = [format::grouped(MAX_DUMPED as u64), format::grouped(bytes.len() as u64)];
        let cut = fill(texts.first_bytes, &[&parts[0], &parts[1]]);
        figure.append(&text("p", &cut).class("details"));
    }
    figure
}

fn runs(pre: &El, runs: Vec<Run>, between: &str) {
    for (at, run) in runs.into_iter().enumerate() {
        let before = if at == 0 { "" } else { between };
        if run.changed {
            pre.clone().plain_text(before).append(&text("mark", &run.text));
        } else {
            let _added = pre.clone().plain_text(&format!("{before}{}", run.text));
        }
    }
}
