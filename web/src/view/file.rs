//! Files: one that is sent piece by piece, and transcripts that are kept and loaded.

use wasm_bindgen::JsCast as _;
use web_sys::{File, HtmlInputElement};

use super::{
    act::Act,
    app::{self, App},
    browser,
    dom::{self, El, button, el, text},
    model::{MAX_WIRES, Model},
    wire::Wire,
};
use crate::{
    composer::transfer::{End, Expect, Transfer},
    format, live, record,
    session::Session,
    time::Millis,
    words::{Words, fill},
};

/// The largest transcript that is loaded, in bytes.
const MAX_LOADED: f64 = 256.0 * 1024.0 * 1024.0;

pub(super) struct FilePanel {
    pub(super) root: El,
    name: El,
    expect: El,
    start: El,
    progress: El,
    bar: El,
    told: El,
}

const EXPECTED: [Expect; 3] = [Expect::Upper, Expect::Same, Expect::Anything];

impl FilePanel {
    pub(super) fn new(words: &'static Words) -> FilePanel {
        let pick =
            el("input").id("file").attr("type", "file").class("unseen").attr("data-do", "file");
        let pick = pick.attr("aria-label", words.file_pick).attr("tabindex", "-1");
        let name = el("bdi").id("file-name").class("name");
        let drop = el("p").class("drop").plain(words.file_drop).plain(" ");
        let drop = drop.with(&button(words.file_pick, "pick-file").id("pick-file").class("quiet"));
        let drop = drop.with(&pick).with(&name);
        let expect = el("select").id("expect").attr("data-do", "expect");
        let said = [words.expect_upper, words.expect_same, words.expect_anything];
        for (at, said) in said.into_iter().enumerate() {
            expect.append(&text("option", said).attr("value", &at.to_string()));
        }
        let label = text("label", words.file_expect).attr("for", "expect");
        let start = button(words.send, "file-start").id("file-start").class("primary");
        let row = el("div").class("file-row").all([&label, &expect, &start]);
        let bar = el("span");
        let progress = el("div").class("progress").attr("role", "progressbar").with(&bar);
        let progress = progress.attr("aria-valuemin", "0").attr("aria-valuemax", "100");
        let told = el("p").id("file-told").class("details").attr("role", "status");
        let root = el("div").id("file-panel").all([&drop, &row, &progress, &told]);
        FilePanel { root, name, expect, start, progress, bar, told }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let (words, expect) = (model.words, expected(model));
        let wire = model.wire();
        let compose = &wire.compose;
        self.root.show(compose.is_file);
        if !compose.is_file {
            return;
        }
        let file = compose.file.as_ref();
        let name =
            file.map(|file| format!("{} · {}", file.name(), format::size(file.size() as u64)));
        self.name.set_text(&name.unwrap_or_default());
        let at = EXPECTED.iter().position(|one| *one == expect).unwrap_or(2);
        dom::set_value(&self.expect.node, &at.to_string());
        let transfer = compose.transfer.as_ref();
        let running = transfer.is_some_and(|transfer| transfer.end().is_none());
        self.start.set_text(if running { words.stop } else { words.send });
        let ready = file.is_some() && wire.session.state().takes_messages();
        self.start.set("aria-disabled", if running || ready { "false" } else { "true" });
        self.progress.show(transfer.is_some());
        let Some(transfer) = transfer else { return self.told.set_text("") };
        let percent = transfer.percent().to_string();
        self.bar.style("width", &format!("{percent}%"));
        self.progress.set("aria-valuenow", &percent);
        self.progress.set("aria-label", transfer.name());
        let bad = !matches!(transfer.end(), None | Some(End::Done | End::Stopped));
        self.progress.set("data-calm", if bad { "false" } else { "true" });
        self.told.set("class", if bad { "problem" } else { "details" });
        // While it runs the bar tells enough: the status is read out when it is over.
        self.told.set_if("aria-hidden", "true", running);
        self.told.set_text(&told(transfer, now, words));
    }
}

fn told(transfer: &Transfer, now: Millis, words: &Words) -> String {
    let done = format::size(transfer.done());
    let (size, rate) = (format::size(transfer.size()), format::size(transfer.per_second(now)));
    let name = transfer.name();
    match transfer.end() {
        None => fill(words.file_progress, &[&done, &size, &rate]),
        Some(End::Done) if transfer.expect() == Expect::Anything => {
            fill(words.file_sent, &[name, &size, &rate])
        }
        Some(End::Done) => fill(words.file_done, &[name, &size, &rate]),
        Some(End::Wrong { at, expected, found }) => {
            let (expected, found) = (format!("{expected:02x}"), format!("{found:02x}"));
            fill(words.file_wrong, &[name, &format::grouped(at), &expected, &found])
        }
        Some(End::Stopped) => fill(words.file_stopped, &[name, &done]),
        Some(End::Lost) => fill(words.file_lost, &[name, &done]),
        Some(End::Unreadable) => fill(words.file_unreadable, &[name]),
    }
}

/// What should come back: what somebody chose, or else what the server's endpoints tell.
fn expected(model: &mut Model) -> Expect {
    if let Some(chosen) = model.wire().compose.expect {
        return chosen;
    }
    let url = model.wire().session.url().to_owned();
    live::expected(model.service(&url))
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    let expect = expected(&mut app.model);
    let wire = app.model.wire();
    let compose = &mut wire.compose;
    if act.asks("pick-file") {
        click("file");
    } else if act.is("change", "file") {
        choose(wire, picked(act));
    } else if act.is("change", "expect") {
        compose.expect = act.value().parse().ok().and_then(|at: usize| EXPECTED.get(at).copied());
    } else if act.asks("file-start") {
        match &mut compose.transfer {
            Some(transfer) if transfer.end().is_none() => {
                transfer.finish(End::Stopped, browser::now())
            }
            _ => wire.start_transfer(expect),
        }
    } else if act.kind.starts_with("drag") || act.kind == "drop" {
        if !act.has_file() {
            return false;
        }
        act.handled();
        let over = act.kind == "dragover";
        act.node.class_list().toggle_with_force("dropping", over).ok();
        if act.kind == "drop" {
            choose(wire, act.file());
        }
    } else {
        return false;
    }
    true
}

fn choose(wire: &mut Wire, file: Option<File>) {
    if file.is_some() {
        wire.compose.file = file;
        wire.compose.is_file = true;
        wire.compose.transfer = None;
    }
}

/// Transcripts as files.
pub(super) fn keep(app: &mut App, act: &Act, words: &'static Words) -> bool {
    if act.asks("export") {
        let wire = app.model.wire();
        let name = format!("echogate-{}.jsonl", browser::now() as u64 / 1000);
        let _kept = browser::download(&name, &record::write(wire.session.transcript()));
    } else if act.asks("pick-load") {
        click("load");
    } else if act.is("change", "load") {
        if let Some(file) = picked(act).filter(|file| file.size() <= MAX_LOADED) {
            let name = file.name();
            browser::read(&file, 0, file.size() as u64, move |bytes| {
                app::with(|app| load(app, &name, &bytes.unwrap_or_default(), words));
            });
        }
    } else {
        return false;
    }
    true
}

/// Shows a transcript in a connection of its own.
fn load(app: &mut App, name: &str, bytes: &[u8], words: &Words) {
    match record::read(&String::from_utf8_lossy(bytes)) {
        Err(line) => {
            let note = fill(words.not_a_transcript, &[name, &line.to_string()]);
            app.model.wire().reading.note = note;
        }
        Ok(_) if app.model.wires.len() >= MAX_WIRES => {
            words.too_many_connections.clone_into(&mut app.model.wire().reading.note);
        }
        Ok(transcript) => {
            let wire = app.model.add_wire();
            wire.session = Session::of(transcript);
            wire.loaded = Some(name.to_owned());
        }
    }
}

/// The file that was picked; the field is ready for the same file again.
fn picked(act: &Act) -> Option<File> {
    let field = act.node.dyn_ref::<HtmlInputElement>()?;
    let file = field.files()?.get(0);
    field.set_value("");
    file
}

fn click(id: &str) {
    if let Some(element) = browser::element(id) {
        element.click();
    }
}
