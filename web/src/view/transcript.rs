//! What happened, a row each; of tens of thousands only those in sight are drawn.

use super::{
    detail::Detail,
    dom::{self, El, button, el, text},
    model::Model,
    parts::Reading,
    row::Row,
    screen::panel,
    wire::Wire,
};
use crate::{
    filter::Show,
    format,
    list::Sight,
    session::Pairing,
    transcript::{Entry, Transcript},
    words::{Words, fill},
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
    /// The connection whose rows are drawn, and the height of one.
    of: Option<u32>,
    row_height: f64,
    /// The height of the part in which rows are seen.
    height: f64,
    /// How far it was scrolled by this.
    scrolled: f64,
}

impl TranscriptPanel {
    pub(super) fn new(words: &'static Words) -> TranscriptPanel {
        let (root, head_bar) = panel("transcript-panel", words.transcript);
        let count = el("span").id("row-count").class("soft");
        let search = el("input").id("search").attr("type", "search").attr("data-do", "search");
        let search = search.attr("placeholder", words.search).attr("aria-label", words.search);
        let show = el("select").id("show").attr("data-do", "show").attr("aria-label", words.show);
        let said = [
            words.show_all,
            words.show_sent,
            words.show_received,
            words.show_events,
            words.show_pinned,
        ];
        for (at, said) in said.into_iter().enumerate() {
            show.append(&text("option", said).attr("value", &at.to_string()));
        }
        let load =
            el("input").id("load").class("unseen").attr("type", "file").attr("data-do", "load");
        let load =
            load.attr("accept", ".jsonl").attr("aria-label", words.load).attr("tabindex", "-1");
        let tools = el("div").class("tools").all([
            &search,
            &show,
            &button(words.export, "export").id("export").class("quiet"),
            &button(words.load, "pick-load").id("pick-load").class("quiet"),
            &load,
            &button(words.clear, "clear").id("clear").class("quiet"),
        ]);
        head_bar.append(&count);
        head_bar.append(&tools);
        let head = el("div").class("columns line").attr("role", "row");
        for said in
            [words.time, words.sent, words.received, words.kind, words.size, words.round_trip]
        {
            head.append(&text("span", said).attr("role", "columnheader"));
        }
        let body = el("div").class("rows").attr("role", "rowgroup");
        let sizer = el("div").class("sizer").attr("role", "presentation").with(&body);
        let list = el("div").id("transcript").attr("role", "grid").attr("tabindex", "0");
        let list = list.attr("data-do", "list").attr("aria-label", words.messages_region);
        let list =
            list.with(&el("div").class("head").attr("role", "rowgroup").with(&head)).with(&sizer);
        let empty = empty(words);
        let nothing = text("p", words.nothing_found).class("empty");
        let to_end = button(words.to_end, "to-end").id("to-end").class("to-end");
        let view = el("div").class("view").all([&list, &empty, &nothing, &to_end]);
        let dropped = el("p").id("dropped").class("notice");
        let note = el("p").id("transcript-note").class("notice").attr("role", "status");
        let detail = Detail::new();
        let root = root.class("panel transcript").all([&view, &dropped, &note, &detail.root]);
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

    /// Looks at how large things are: before anything changes in a frame, when that is free.
    /// Answers whether they are as they were.
    pub(super) fn measure(&mut self) -> bool {
        let row = self.rows.first().map(|row| row.root.node.get_bounding_client_rect().height());
        // A part of the page that is not shown has no height.
        self.row_height = row.filter(|height| *height > 0.0).unwrap_or(self.row_height);
        let head = f64::from(self.head.node.client_height());
        let height = (f64::from(self.list.node.client_height()) - head).max(0.0);
        let same = (height - self.height).abs() < 1.0;
        self.height = height;
        same
    }

    pub(super) fn draw(&mut self, model: &mut Model) {
        let words = model.words;
        let wire = model.wire();
        if self.of.replace(wire.id) != Some(wire.id) {
            self.rows.iter_mut().for_each(Row::forget);
        }
        let Wire { session, reading, .. } = wire;
        // Who answers when he likes is in a conversation.
        let talk = session.pairing() == Pairing::Never;
        self.list.set("data-talk", if talk { "true" } else { "false" });
        let transcript = session.transcript();
        let shown = reading.matches.len(transcript);
        self.draw_around(transcript, reading, shown, words);

        let open = reading.selected.filter(|_| reading.is_open).and_then(|id| transcript.get(id));
        let pinned = open.is_some_and(|row| transcript.is_pinned(row.id));
        let opened = self.detail.draw(open, pinned, words);
        let reveal =
            open.filter(|_| opened).and_then(|row| reading.matches.place(transcript, row.id));

        let mut sight =
            Sight { rows: shown, row: self.row_height, top: reading.top, height: self.height };
        if reading.follow {
            sight.top = sight.end();
        } else if reading.matches.filter().is_off() {
            // What has left at the other end is not to move what somebody reads.
            let gone = transcript.first_id().saturating_sub(reading.first);
            sight.top = (sight.top - gone as f64 * self.row_height).max(0.0);
        }
        reading.first = transcript.first_id();
        if let Some(at) = reveal {
            sight.top = sight.reveal(at);
        }
        self.sizer.style("height", &px(shown as f64 * self.row_height));
        if (reading.top - sight.top).abs() >= 1.0 || (self.scrolled - sight.top).abs() >= 1.0 {
            self.list.node.set_scroll_top(sight.top.round() as i32);
        }
        self.scrolled = sight.top;
        reading.top = sight.top;
        let drawn = sight.drawn();
        self.body.style(
            "transform",
            &format!("translateY({})", px(drawn.start as f64 * self.row_height)),
        );
        let entries: Vec<&Entry> =
            drawn.clone().filter_map(|at| reading.matches.at(transcript, at)).collect();
        self.draw_rows(&entries, drawn.start, transcript, reading.selected, words);
        self.to_end.show(!reading.follow && shown > 0);
    }

    /// Whether a row is opened.
    pub(super) fn is_open(&self) -> bool {
        self.detail.is_open()
    }

    fn draw_around(
        &mut self,
        transcript: &Transcript,
        reading: &Reading,
        shown: usize,
        words: &Words,
    ) {
        let all = format::grouped(transcript.len() as u64);
        let some = format::grouped(shown as u64);
        let off = reading.matches.filter().is_off();
        let (sentence, parts) =
            if off { (words.rows, vec![&*all]) } else { (words.shown_of, vec![&*some, &*all]) };
        self.count.set_text(&if transcript.is_empty() {
            String::new()
        } else {
            fill(sentence, &parts)
        });
        dom::set_value(&self.search.node, &reading.text);
        let chosen = Show::ALL.iter().position(|show| *show == reading.show).unwrap_or(0);
        dom::set_value(&self.show.node, &chosen.to_string());
        self.empty.show(transcript.is_empty());
        self.nothing.show(!transcript.is_empty() && shown == 0);
        self.head.set("data-empty", if shown == 0 { "true" } else { "false" });
        let dropped = transcript.dropped();
        self.dropped.show(dropped.rows > 0);
        let parts = [format::grouped(dropped.rows), format::size(dropped.bytes)];
        self.dropped.set_text(&fill(words.rows_left, &[&parts[0], &parts[1]]));
        self.note.set_text(&reading.note);
        self.note.show(!reading.note.is_empty());
        self.list.set("aria-rowcount", &(shown + 1).to_string());
        let selected = reading.selected.filter(|_| shown > 0);
        let active = selected.map(|id| format!("row-{id}")).unwrap_or_default();
        self.list.set_if("aria-activedescendant", &active, !active.is_empty());
    }

    /// Brings the rows on the screen to those wanted: each stays where it is, and shows another
    /// entry. To move it would cost more.
    fn draw_rows(
        &mut self,
        entries: &[&Entry],
        first: usize,
        transcript: &Transcript,
        selected: Option<u64>,
        words: &Words,
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
            row.draw(entry, words);
            row.root.set("aria-rowindex", &(first + at + 2).to_string());
            let pinned = transcript.is_pinned(entry.id);
            row.root
                .set("aria-selected", if selected == Some(entry.id) { "true" } else { "false" });
            row.root.set("data-pinned", if pinned { "true" } else { "false" });
        }
    }
}

fn px(length: f64) -> String {
    format!("{}px", length.round() as i64)
}

/// What there is to see before anything has happened.
fn empty(words: &Words) -> El {
    let picture = el("p").class("picture").attr("aria-hidden", "true");
    for (stop, leg) in [
        (words.way_page, words.way_websocket),
        (words.way_gateway, words.way_tcp),
        (words.way_service, ""),
    ] {
        picture.append(&text("span", stop).class("stop"));
        if !leg.is_empty() {
            picture.append(&text("span", leg).class("leg"));
        }
    }
    el("div").id("empty").class("empty").with(&picture).with(&text("p", words.empty_text))
}
