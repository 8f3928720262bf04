//! The transcript: a row for each event, of which only the visible ones are drawn.

use super::{
    action::Action,
    connection::Connection,
    detail::Detail,
    dom::{self, El, button, el, id, panel, text},
    forms::TranscriptView,
    model::Model,
    row::Row,
};
use crate::{
    filter::Show,
    format,
    i18n::{Texts, fill},
    session::Pairing,
    transcript::{Entry, Transcript},
    virtual_list::Viewport,
};

pub(super) struct TranscriptPanel {
    pub(super) root: El,
    count: El,
    search: El,
    show: El,
    list: El,
    head: El,
    sizer: El,
    body: El,
    rows: Vec<Row>,
    empty: El,
    nothing: El,
    dropped: El,
    note: El,
    to_end: El,
    detail: Detail,
    /// The connection whose rows are drawn.
    of: Option<u32>,
    /// The height of a row, and of the viewport.
    row_height: f64,
    height: f64,
    /// The scroll position that was set last.
    scrolled: f64,
}

impl TranscriptPanel {
    pub(super) fn new(texts: &'static Texts) -> TranscriptPanel {
        let (root, head_bar) = panel("transcript-panel", texts.transcript);
        let count = el("span").id("row-count").class("soft");
        let search = el("input").id("search").attr("type", "search").action(Action::Search);
        let search = search.attr("placeholder", texts.search).attr("aria-label", texts.search);
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
        let load = el("input")
            .id(id::LOAD)
            .class("unseen")
            .attr("type", "file")
            .action(Action::TranscriptPicked);
        let load =
            load.attr("accept", ".jsonl").attr("aria-label", texts.load).attr("tabindex", "-1");
        let tools = el("div").class("tools").children([
            &search,
            &show,
            &button(texts.export, Action::ExportTranscript).id("export").class("quiet"),
            &button(texts.load, Action::PickTranscript).id("pick-load").class("quiet"),
            &load,
            &button(texts.clear, Action::ClearTranscript).id("clear").class("quiet"),
        ]);
        head_bar.append(&count);
        head_bar.append(&tools);
        let head = el("div").class("columns line").attr("role", "row");
        for title in
            [texts.time, texts.sent, texts.received, texts.kind, texts.size, texts.round_trip]
        {
            head.append(&text("span", title).attr("role", "columnheader"));
        }
        let body = el("div").class("rows").attr("role", "rowgroup");
        let sizer = el("div").class("sizer").attr("role", "presentation").child(&body);
        let list = el("div").id(id::TRANSCRIPT).attr("role", "grid").attr("tabindex", "0");
        let list = list.action(Action::ScrollTranscript).attr("aria-label", texts.messages_region);
        let list = list
            .child(&el("div").class("head").attr("role", "rowgroup").child(&head))
            .child(&sizer);
        let empty = empty(texts);
        let nothing = text("p", texts.nothing_found).class("empty");
        let to_end = button(texts.to_end, Action::ScrollToEnd).id("to-end").class("to-end");
        let area = el("div").class("view").children([&list, &empty, &nothing, &to_end]);
        let dropped = el("p").id("dropped").class("notice");
        let note = el("p").id("transcript-note").class("notice").attr("role", "status");
        let detail = Detail::new();
        let root = root.class("panel transcript").children([&area, &dropped, &note, &detail.root]);
        TranscriptPanel {
            root,
            count,
            search,
            show,
            list,
            head,
            sizer,
            body,
            rows: Vec::new(),
            empty,
            nothing,
            dropped,
            note,
            to_end,
            detail,
            of: None,
            row_height: 36.0,
            height: 0.0,
            scrolled: -1.0,
        }
    }

    /// Measures the list, before anything changes in a frame, when that costs no layout; returns
    /// whether its height is unchanged.
    pub(super) fn measure(&mut self) -> bool {
        let row = self.rows.first().map(|row| row.root.node.get_bounding_client_rect().height());
        // A hidden view has no height.
        self.row_height = row.filter(|height| *height > 0.0).unwrap_or(self.row_height);
        let head = f64::from(self.head.node.client_height());
        let height = (f64::from(self.list.node.client_height()) - head).max(0.0);
        let same = (height - self.height).abs() < 1.0;
        self.height = height;
        same
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        let texts = model.texts;
        let connection = model.connection();
        if self.of.replace(connection.id) != Some(connection.id) {
            self.rows.iter_mut().for_each(Row::forget);
        }
        let Connection { session, view, .. } = connection;
        // Without pairs of request and reply the transcript is shown as a conversation.
        let talk = session.pairing() == Pairing::Never;
        self.list.set_flag("data-conversation", talk);
        let transcript = session.transcript();
        let shown = view.matches.len(transcript);
        self.draw_around(transcript, view, shown, texts);

        let open = view.opened().and_then(|id| transcript.get(id));
        let pinned = open.is_some_and(|row| transcript.is_pinned(row.id));
        let opened = self.detail.draw(open, pinned, texts);
        let reveal =
            open.filter(|_| opened).and_then(|row| view.matches.position(transcript, row.id));

        let mut viewport = Viewport {
            rows: shown,
            row_height: self.row_height,
            top: view.top,
            height: self.height,
        };
        if view.follow {
            viewport.top = viewport.max_top();
        } else if view.matches.filter().is_off() {
            // Rows dropped at the beginning do not move the visible ones.
            let dropped = transcript.first_id().saturating_sub(view.first);
            viewport.top = (viewport.top - dropped as f64 * self.row_height).max(0.0);
        }
        view.first = transcript.first_id();
        if let Some(at) = reveal {
            viewport.top = viewport.top_to_reveal(at);
        }
        self.sizer.style("height", &px(shown as f64 * self.row_height));
        if (view.top - viewport.top).abs() >= 1.0 || (self.scrolled - viewport.top).abs() >= 1.0 {
            self.list.node.set_scroll_top(viewport.top.round() as i32);
        }
        self.scrolled = viewport.top;
        view.top = viewport.top;
        let drawn = viewport.rows_to_draw();
        self.body.style(
            "transform",
            &format!("translateY({})", px(drawn.start as f64 * self.row_height)),
        );
        let entries: Vec<&Entry> =
            drawn.clone().filter_map(|at| view.matches.at(transcript, at)).collect();
        self.draw_rows(&entries, drawn.start, transcript, view.selected, texts);
        self.to_end.show(!view.follow && shown > 0);
    }

    /// Whether a row is open.
    pub(super) fn is_open(&self) -> bool {
        self.detail.is_open()
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
        let (sentence, parts) =
            if off { (texts.rows, vec![&*all]) } else { (texts.shown_of, vec![&*some, &*all]) };
        self.count.set_text(&if transcript.is_empty() {
            String::new()
        } else {
            fill(sentence, &parts)
        });
        dom::set_value(&self.search.node, &view.text);
        let chosen = Show::ALL.iter().position(|show| *show == view.show).unwrap_or(0);
        dom::set_value(&self.show.node, &chosen.to_string());
        self.empty.show(transcript.is_empty());
        self.nothing.show(!transcript.is_empty() && shown == 0);
        self.head.set_flag("data-empty", shown == 0);
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

    /// Makes the rows on the screen show these entries. Rows stay in place and change their content,
    /// which costs less than moving them.
    fn draw_rows(
        &mut self,
        entries: &[&Entry],
        first: usize,
        transcript: &Transcript,
        selected: Option<u64>,
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
        for (at, (row, entry)) in self.rows.iter_mut().zip(entries).enumerate() {
            row.draw(entry, texts);
            row.root.set("aria-rowindex", &(first + at + 2).to_string());
            let pinned = transcript.is_pinned(entry.id);
            row.root.set_flag("aria-selected", selected == Some(entry.id));
            row.root.set_flag("data-pinned", pinned);
        }
    }
}

fn px(length: f64) -> String {
    format!("{}px", length.round() as i64)
}

/// The content of an empty transcript.
fn empty(texts: &Texts) -> El {
    let picture = el("p").class("picture").attr("aria-hidden", "true");
    for (stop, leg) in [
        (texts.latency_page, texts.latency_websocket),
        (texts.latency_gateway, texts.latency_tcp),
        (texts.latency_service, ""),
    ] {
        picture.append(&text("span", stop).class("stop"));
        if !leg.is_empty() {
            picture.append(&text("span", leg).class("leg"));
        }
    }
    el("div").id("empty").class("empty").child(&picture).child(&text("p", texts.empty_text))
}
