//! An opened row: both messages in full, byte by byte, with what changed marked.

use super::{
    act::Act,
    app::{self, App},
    browser,
    dom::{El, button, el, text},
    row::{kind_of, sentence},
};
use crate::{
    composer::{Mode, history::Draft},
    dump::{self, Run},
    format,
    payload::Payload,
    transcript::{Entry, What},
    words::{Words, fill},
};

/// The most bytes of a message in a dump.
const DUMPED: usize = 2048;
/// The most characters of a message written out.
const WRITTEN: usize = 20_000;

pub(super) struct Detail {
    pub(super) root: El,
    /// What is drawn: the row, how far it had come, whether it was pinned.
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

    /// Whether another row is opened now than before.
    pub(super) fn draw(&mut self, entry: Option<&Entry>, pinned: bool, words: &Words) -> bool {
        let before = self.drawn.map(|(id, ..)| id);
        self.redraw(entry, pinned, words);
        entry.is_some_and(|entry| before != Some(entry.id))
    }

    fn redraw(&mut self, entry: Option<&Entry>, pinned: bool, words: &Words) {
        let wanted = entry.map(|entry| (entry.id, entry.what.stage(), pinned));
        if wanted == self.drawn {
            return;
        }
        self.drawn = wanted;
        self.root.empty();
        self.root.show(wanted.is_some());
        let Some(entry) = entry else { return };
        let title = fill(words.row, &[&format::grouped(entry.id + 1)]);
        self.root.set("aria-label", &title);
        self.root.append(&head(entry, &title, pinned, words));
        if let Some(sentence) = sentence(&entry.what, words) {
            self.root.append(&text("p", &sentence).class("summary"));
            if let What::Ended(ending) = &entry.what {
                self.root.append(&text("p", ending.advice(words)).class("details advice"));
            }
            return;
        }
        let (sent, received) = (entry.what.sent(), entry.what.received());
        if let Some((sent, received)) = sent.zip(received) {
            self.root.append(&text("p", &summary(sent, received, words)).class("summary"));
        }
        let both = el("div").class("both");
        if let Some(sent) = sent {
            both.append(&side(words.sent, sent, received, words));
        }
        if let Some(received) = received {
            both.append(&side(words.received, received, sent, words));
        }
        self.root.append(&both);
    }
}

fn head(entry: &Entry, title: &str, pinned: bool, words: &Words) -> El {
    let head = el("header").with(&text("h3", title));
    let action = |said: &str, does: &str| {
        button(said, does).id(does).class("quiet").attr("data-with", &entry.id.to_string())
    };
    let tools = el("div").class("tools");
    tools.append(&action(if pinned { words.unpin } else { words.pin }, "pin"));
    if entry.what.sent().or(entry.what.received()).is_some() {
        tools.append(&action(words.copy, "copy"));
    }
    if entry.what.sent().is_some() {
        tools.append(&action(words.send_again, "again"));
    }
    tools.append(&action(words.close, "close-detail"));
    head.with(&tools)
}

fn summary(sent: &Payload, received: &Payload, words: &Words) -> String {
    match dump::differences(sent.bytes(), received.bytes()) {
        0 => words.same_reply.to_owned(),
        n => {
            let all = words.bytes(sent.len().max(received.len()) as u64);
            fill(words.changed_bytes, &[&format::grouped(n as u64), &all])
        }
    }
}

/// One message: written out if it is text with more in it than its row shows, and as a dump.
fn side(title: &str, payload: &Payload, other: Option<&Payload>, words: &Words) -> El {
    let bytes = payload.bytes();
    let about = format!("{} · {}", kind_of(payload, words), words.bytes(bytes.len() as u64));
    let caption = text("figcaption", title).plain(" ").with(&text("small", &about));
    let figure = el("figure").with(&caption);
    if let Payload::Text(written) = payload
        && (written.contains('\n') || written.chars().count() > 40)
    {
        let written: String = written.chars().take(WRITTEN).collect();
        figure
            .append(&text("pre", &written).class("text").attr("dir", "auto").attr("tabindex", "0"));
    }
    let pre = el("pre").class("dump").attr("tabindex", "0");
    for line in dump::lines(bytes, other.map(Payload::bytes), DUMPED) {
        pre.append(&text("span", &format!("{:04x}  ", line.offset)).class("offset"));
        runs(&pre, line.digits, " ");
        let pre = pre.clone().plain(&line.padding).plain("  ");
        runs(&pre, line.ascii, "");
        let _ended = pre.plain("\n");
    }
    figure.append(&pre);
    if bytes.len() > DUMPED {
        let parts = [format::grouped(DUMPED as u64), format::grouped(bytes.len() as u64)];
        let cut = fill(words.first_bytes, &[&parts[0], &parts[1]]);
        figure.append(&text("p", &cut).class("details"));
    }
    figure
}

fn runs(pre: &El, runs: Vec<Run>, between: &str) {
    for (at, run) in runs.into_iter().enumerate() {
        let before = if at == 0 { "" } else { between };
        if run.changed {
            pre.clone().plain(before).append(&text("mark", &run.text));
        } else {
            let _added = pre.clone().plain(&format!("{before}{}", run.text));
        }
    }
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    let wire = app.model.wire();
    let id = act.with.parse().ok();
    if act.asks("pin") {
        id.map(|id| wire.session.transcript_mut().toggle_pin(id));
        let (show, text) = (wire.reading.show, wire.reading.text.clone());
        let follow = wire.reading.follow;
        wire.choose(show, &text);
        wire.reading.follow = follow;
    } else if act.asks("copy") {
        let row = id.and_then(|id| wire.session.transcript().get(id));
        let payloads = row.map(|row| [row.what.sent(), row.what.received()]);
        let lines: Vec<String> =
            payloads.into_iter().flatten().flatten().map(|it| draft(it).text).collect();
        let (wire, words) = (wire.id, app.model.words);
        browser::copy(&lines.join("\n"), move |done| {
            let note = if done { words.copied } else { words.copy_failed };
            app::with(|app| {
                app.with_wire(wire, |wire| note.clone_into(&mut wire.reading.note));
            });
        });
    } else if act.asks("again") {
        let row = id.and_then(|id| wire.session.transcript().get(id));
        if let Some(sent) = row.and_then(|row| row.what.sent()) {
            wire.compose.draft = draft(sent);
            (wire.compose.template, wire.compose.is_file) = (None, false);
            browser::focus(super::composer::FIELD);
        }
    } else if act.asks("close-detail") {
        wire.reading.is_open = false;
        browser::focus("transcript");
    } else {
        return false;
    }
    true
}

/// A message as it would be written in the composer.
fn draft(payload: &Payload) -> Draft {
    match payload {
        Payload::Text(text) => Draft { mode: Mode::Text, text: text.to_string() },
        Payload::Binary(bytes) => {
            Draft { mode: Mode::Hex, text: echogate_proto::hex::encode(bytes) }
        }
    }
}
