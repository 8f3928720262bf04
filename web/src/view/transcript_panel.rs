//! The transcript: a row for each event, of which only the visible ones are drawn.

use super::{
    action::Action,
    browser,
    connection::{Connection, Source},
    detail::Detail,
    dom::{El, button, el, id, panel, text},
    first_run::FirstRun,
    forms::TranscriptView,
    model::Model,
    row::{Row, Style},
    transcript_tools::TranscriptTools,
};
use crate::{
    format,
    i18n::{Texts, fill},
    session::State,
    transcript::{Entry, Transcript},
    virtual_list::Viewport,
};

pub(super) struct TranscriptPanel {
    pub(super) root: El,
    count: El,
    tools: TranscriptTools,
    list: El,
    head: El,
    sizer: El,
    body: El,
    rows: Vec<Row>,
    first_run: FirstRun,
    nothing: El,
    cleared: El,
    dropped: El,
    note: El,
    to_end: El,
    detail: Detail,
    /// The connection whose rows are drawn.
    of: Option<u32>,
    /// Whether times have a date.
    dated: bool,
    /// Whether the rows are bytes of a stream.
    is_stream: bool,
    /// The height of a row, and of the viewport.
    row_height: f64,
    height: f64,
    /// Whether the height of the viewport is that of the last frame, and nothing has changed it since.
    is_settled: bool,
    /// The scroll position that was set last.
    scrolled: f64,
}

impl TranscriptPanel {
    pub(super) fn new(texts: &'static Texts) -> TranscriptPanel {
        let (root, head_bar) = panel("transcript-panel", texts.transcript);
        let count = el("span").id("row-count").class("soft");
        let tools = TranscriptTools::new(texts);
        head_bar.append(&count);
        head_bar.append(&tools.root);
        let head = titles(texts);
        let body = el("div").class("rows").attr("role", "rowgroup");
        let sizer = el("div").class("sizer").attr("role", "presentation").child(&body);
        let list = el("div").id(id::TRANSCRIPT).attr("role", "treegrid").attr("tabindex", "0");
        let list = list.action(Action::ScrollTranscript).attr("aria-label", texts.messages_region);
        let list = list
            .child(&el("div").class("head").attr("role", "rowgroup").child(&head))
            .child(&sizer);
        let first_run = FirstRun::new(texts);
        let nothing = text("p", texts.nothing_found).class("empty");
        let to_end = button(texts.to_end, Action::ScrollToEnd).id("to-end").class("to-end");
        let area = el("div").class("view").children([&list, &first_run.root, &nothing, &to_end]);
        let undo = button(texts.undo, Action::UndoClear).id("undo-clear").class("quiet");
        let cleared = el("p").id("cleared").class("notice").attr("role", "status");
        let cleared = cleared.plain_text(texts.cleared).plain_text(" ").child(&undo);
        let dropped = el("p").id("dropped").class("notice");
        let note = el("p").id("transcript-note").class("notice").attr("role", "status");
        let detail = Detail::new(texts);
        let root = root.class("panel transcript").children([
            &tools.problem,
            &area,
            &cleared,
            &dropped,
            &note,
            &detail.root,
        ]);
        TranscriptPanel {
            root,
            count,
            tools,
            list,
            head,
            sizer,
            body,
            rows: Vec::new(),
            first_run,
            nothing,
            cleared,
            dropped,
            note,
            to_end,
            detail,
            of: None,
            dated: false,
            is_stream: false,
            row_height: 36.0,
            height: 0.0,
            is_settled: false,
            scrolled: -1.0,
        }
    }

    /// Measures the list, before anything changes in a frame, when that costs no layout.
    pub(super) fn measure(&mut self) {
        let row = self.rows.first().map(|row| row.root.node.get_bounding_client_rect().height());
        // A hidden view has no height.
        self.row_height = row.filter(|height| *height > 0.0).unwrap_or(self.row_height);
        let head = f64::from(self.head.node.client_height());
        let height = (f64::from(self.list.node.client_height()) - head).max(0.0);
        self.is_settled = (height - self.height).abs() < 1.0;
        self.height = height;
    }

    /// Draws; returns whether the list has its final height. A change of it becomes visible to
    /// `measure` in the next frame.
    pub(super) fn draw(&mut self, model: &mut Model) -> bool {
        let texts = model.texts;
        let connection = model.connection();
        let is_empty = connection.session.transcript().is_empty() && !connection.is_read_only();
        self.first_run.draw(model, is_empty);
        self.root.set_flag("data-empty", is_empty);
        self.tools.draw(model);
        let connection = model.connection();
        self.root.show(!connection.view.is_ladder);
        if self.of.replace(connection.id) != Some(connection.id) {
            self.rows.iter_mut().for_each(Row::forget);
        }
        self.dated = matches!(connection.source, Source::File(_));
        self.list.set_flag("data-dated", self.dated);
        self.is_stream = match &connection.source {
            Source::Client(following) => following.is_stream,
            Source::Socket | Source::File(_) => false,
        };
        let Connection { session, view, .. } = connection;
        let transcript = session.transcript();
        let shown = view.matches.len(transcript);
        self.draw_around(transcript, view, shown, texts);
        if view.follow && browser::has_selection_in(&self.list.node) {
            // New rows would change the text that the user has selected.
            view.follow = false;
        }
        if view.follow {
            view.end = transcript.next_id();
        }

        self.is_settled &= !self.detail.draw(view, session, texts);
        let opened = view.opened();
        let reveal = opened.filter(|_| opened != view.revealed);
        // The opened row is revealed again when the detail below has taken its part of the list.
        if self.is_settled {
            view.revealed = opened;
        }
        let reveal = reveal.and_then(|id| view.matches.position(transcript, id));

        let viewport = self.scroll(transcript, view, shown, reveal);
        let drawn = viewport.rows_to_draw();
        self.body.style(
            "transform",
            &format!("translateY({})", px(drawn.start as f64 * self.row_height)),
        );
        let entries: Vec<&Entry> =
            drawn.clone().filter_map(|at| view.matches.at(transcript, at)).collect();
        self.draw_rows(&entries, drawn.start, transcript, view, texts);
        self.to_end.show(!view.follow && shown > 0);
        let is_connecting = matches!(session.state(), State::Connecting);
        if !is_connecting && std::mem::take(&mut view.reveals_end) {
            self.root.node.scroll_into_view_with_bool(false);
        }
        self.is_settled
    }

    fn draw_around(
        &mut self,
        transcript: &Transcript,
        view: &TranscriptView,
        shown: usize,
        texts: &Texts,
    ) {
        let all = format::grouped(transcript.len() as u64);
        let some = format::grouped(shown as u64);
        let off = view.matches.filter().is_off();
        self.count.set_text(&match transcript.len() {
            0 => String::new(),
            1 if off => texts.one_row.to_owned(),
            _ if off => fill(texts.rows, &[&all]),
            _ => fill(texts.shown_of, &[&some, &all]),
        });
        self.nothing.show(!transcript.is_empty() && shown == 0);
        self.head.set_flag("data-empty", shown == 0);
        self.cleared.show(transcript.has_cleared());
        let dropped = transcript.dropped();
        self.dropped.show(dropped.rows > 0);
        let parts = [format::grouped(dropped.rows), format::size(dropped.bytes)];
        self.dropped.set_text(&fill(texts.rows_dropped, &[&parts[0], &parts[1]]));
        self.note.set_text(&view.note);
        self.note.show(!view.note.is_empty());
        self.list.set("aria-rowcount", &(shown + 1).to_string());
        let selected = view.selected.filter(|_| shown > 0);
        let active = selected.map(|id| format!("row-{id}")).unwrap_or_default();
        self.list.set_if("aria-activedescendant", &active, !active.is_empty());
    }

    /// Scrolls to the newest row of a list that follows, or else to the row to reveal; returns the
    /// visible part of the list.
    fn scroll(
        &mut self,
        transcript: &Transcript,
        view: &mut TranscriptView,
        shown: usize,
        reveal: Option<usize>,
    ) -> Viewport {
        let (row_height, height) = (self.row_height, self.height);
        let mut viewport = Viewport { rows: shown, row_height, top: view.top, height };
        // New rows would change a paused list that does not fill its view.
        let held = view.matches.len_before(transcript, view.end);
        if held > 0 && held as f64 * row_height <= height {
            viewport.rows = held;
        }
        if view.follow {
            viewport.top = viewport.max_top();
        } else if view.matches.filter().is_off() {
            // Rows dropped at the beginning do not move the visible ones.
            let dropped = transcript.first_id().saturating_sub(view.first);
            viewport.top = (viewport.top - dropped as f64 * row_height).max(0.0);
        }
        view.first = transcript.first_id();
        if let Some(at) = reveal {
            viewport.top = viewport.top_to_reveal(at);
            // A list that follows would scroll the row away again.
            view.follow &= viewport.top >= viewport.max_top();
        }
        self.sizer.style("height", &px(viewport.rows as f64 * row_height));
        if (view.top - viewport.top).abs() >= 1.0 || (self.scrolled - viewport.top).abs() >= 1.0 {
            self.list.node.set_scroll_top(viewport.top.round() as i32);
        }
        self.scrolled = viewport.top;
        view.top = viewport.top;
        viewport
    }

    /// Makes the rows on the screen show these entries. Rows stay in place and change their content,
    /// which costs less than moving them.
    fn draw_rows(
        &mut self,
        entries: &[&Entry],
        first: usize,
        transcript: &Transcript,
        view: &TranscriptView,
        texts: &Texts,
    ) {
        while self.rows.len() < entries.len() {
            let row = Row::new();
            self.body.append(&row.root);
            self.rows.push(row);
        }
        for row in self.rows.drain(entries.len()..) {
            row.root.node.remove();
        }
        let query = &view.matches.filter().query;
        let style = Style {
            query,
            filter_version: view.filter_version,
            dated: self.dated,
            is_stream: self.is_stream,
        };
        let selected = view.selected.and_then(|id| transcript.get(id));
        let partner = selected.and_then(|entry| entry.kind.partner());
        for (at, (row, entry)) in self.rows.iter_mut().zip(entries).enumerate() {
            row.draw(entry, &style, texts);
            row.root.set("aria-rowindex", &(first + at + 2).to_string());
            let (id, other) = (entry.id, entry.kind.partner());
            let neighbour = |at: Option<usize>| at.and_then(|at| entries.get(at)).map(|it| it.id);
            let pair = match other {
                None => "none",
                Some(_) if other == neighbour(Some(at + 1)) => "first",
                Some(_) if other == neighbour(at.checked_sub(1)) => "second",
                Some(_) => "apart",
            };
            row.root.set("data-pair", pair);
            row.root.set_flag("aria-selected", view.selected == Some(id));
            row.root.set_flag("aria-expanded", view.opened() == Some(id));
            row.root.set_flag("data-partner", partner == Some(id));
            let is_pinned = transcript.is_pinned(id);
            row.root.set_flag("data-pinned", is_pinned);
            row.root.set_if("aria-description", texts.show_pinned, is_pinned);
        }
    }
}

/// The titles of the columns.
fn titles(texts: &Texts) -> El {
    let head = el("div").class("columns line").attr("role", "row");
    for title in
        [texts.time, texts.direction, texts.kind, texts.size, texts.message, texts.round_trip]
    {
        // The arrows of the second column need a title for screen readers alone.
        let class = if title == texts.direction { "unseen" } else { "" };
        let cell = el("span").attr("role", "columnheader");
        head.append(&cell.child(&text("span", title).class(class)));
    }
    head
}

fn px(length: f64) -> String {
    format!("{}px", length.round() as i64)
}
