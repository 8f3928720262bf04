//! The panel that sends a file.

use web_sys::File;

use super::{
    action::Action,
    command::Command,
    dom::{self, El, button, el, id, text},
    forms::MessageForm,
    model::Model,
    user_event::UserEvent,
};
use crate::{
    composer::transfer::{End, Expect, Transfer},
    format,
    i18n::{Texts, fill},
    live,
    time::Millis,
};

pub(super) struct FilePanel {
    pub(super) root: El,
    name: El,
    expect: El,
    start: El,
    progress: El,
    bar: El,
    status: El,
}

const EXPECTED: [Expect; 3] = [Expect::Upper, Expect::Same, Expect::Anything];

impl FilePanel {
    pub(super) fn new(texts: &'static Texts) -> FilePanel {
        let pick = el("input")
            .id(id::FILE)
            .attr("type", "file")
            .attr("hidden", "")
            .action(Action::FilePicked);
        let name = el("bdi").id("file-name").class("name");
        let drop = el("p").class("drop").plain_text(texts.file_drop).plain_text(" ");
        let drop =
            drop.child(&button(texts.file_pick, Action::PickFile).id("pick-file").class("quiet"));
        let drop = drop.child(&pick).child(&name);
        let expect = el("select").id("expect").action(Action::SetExpectedReply);
        let labels = [texts.expect_upper, texts.expect_same, texts.expect_anything];
        for (at, label) in labels.into_iter().enumerate() {
            expect.append(&text("option", label).attr("value", &at.to_string()));
        }
        let label = text("label", texts.file_expect).attr("for", "expect");
        let start = button(texts.send, Action::ToggleTransfer).id("file-start").class("primary");
        let row = el("div").class("file-row").children([&label, &expect, &start]);
        let bar = el("span");
        let progress = el("div").class("progress").attr("role", "progressbar").child(&bar);
        let progress = progress.attr("aria-valuemin", "0").attr("aria-valuemax", "100");
        let status = el("p").id("file-status").class("details").attr("role", "status");
        let root = el("div").id("file-panel").children([&drop, &row, &progress, &status]);
        FilePanel { root, name, expect, start, progress, bar, status }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let (texts, expect) = (model.texts, expected(model));
        let connection = model.connection();
        let compose = &connection.compose;
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
        self.start.set_text(if running { texts.stop } else { texts.send });
        let ready = file.is_some() && connection.session.state().takes_messages();
        self.start.set_flag("aria-disabled", !(running || ready));
        self.progress.show(transfer.is_some());
        let Some(transfer) = transfer else { return self.status.set_text("") };
        let percent = transfer.percent().to_string();
        self.bar.style("width", &format!("{percent}%"));
        self.progress.set("aria-valuenow", &percent);
        self.progress.set("aria-label", transfer.name());
        let failed = !matches!(transfer.end(), None | Some(End::Done | End::Stopped));
        self.progress.set_flag("data-normal", !failed);
        self.status.set("class", if failed { "problem" } else { "details" });
        // During the transfer the progress bar is read out, after it the status.
        self.status.set_if("aria-hidden", "true", running);
        self.status.set_text(&status(transfer, now, texts));
    }
}

fn status(transfer: &Transfer, now: Millis, texts: &Texts) -> String {
    let done = format::size(transfer.done());
    let (size, rate) = (format::size(transfer.size()), format::size(transfer.per_second(now)));
    let name = transfer.name();
    match transfer.end() {
        None => fill(texts.file_progress, &[&done, &size, &rate]),
        Some(End::Done) if transfer.expect() == Expect::Anything => {
            fill(texts.file_sent, &[name, &size, &rate])
        }
        Some(End::Done) => fill(texts.file_done, &[name, &size, &rate]),
        Some(End::Mismatch { at, expected, found }) => {
            let (expected, found) = (format!("{expected:02x}"), format!("{found:02x}"));
            fill(texts.file_wrong, &[name, &format::grouped(at), &expected, &found])
        }
        Some(End::Stopped) => fill(texts.file_stopped, &[name, &done]),
        Some(End::Lost) => fill(texts.file_lost, &[name, &done]),
        Some(End::Unreadable) => fill(texts.file_unreadable, &[name]),
    }
}

/// The answer that the user expects, or else the one of the service that the server names.
fn expected(model: &mut Model) -> Expect {
    if let Some(chosen) = model.connection().compose.expect {
        return chosen;
    }
    let url = model.connection().session.url().to_owned();
    live::expected_reply(model.service(&url))
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let expect = expected(model);
    let connection = model.connection();
    let compose = &mut connection.compose;
    match event.action {
        Action::PickFile => return Some(Command::Click(id::FILE)),
        Action::FilePicked => choose(compose, dom::take_file(&event.node)),
        Action::SetExpectedReply => {
            let at = event.value().parse().ok();
            compose.expect = at.and_then(|at: usize| EXPECTED.get(at).copied());
        }
        Action::ToggleTransfer => match &compose.transfer {
            Some(transfer) if transfer.end().is_none() => connection.stop_transfer(),
            _ => connection.start_transfer(expect),
        },
        Action::DragOver | Action::DragLeave | Action::DropFile if event.has_file() => {
            event.prevent_default();
            let over = event.action == Action::DragOver;
            event.node.class_list().toggle_with_force("dropping", over).ok();
            if event.action == Action::DropFile {
                choose(compose, event.file());
            }
        }
        _ => return None,
    }
    Some(Command::Draw)
}

fn choose(compose: &mut MessageForm, file: Option<File>) {
    if file.is_some() {
        compose.file = file;
        compose.is_file = true;
        compose.transfer = None;
    }
}
