//! An opened row: a message in full and the other one of its exchange, as text, JSON or a hex dump
//! with the differences marked.

use super::{
    action::Action,
    browser,
    dom::{El, button, el, text},
    forms::TranscriptView,
    json_tree,
    row::set_marked,
};
use crate::{
    format,
    hexdump::{self, Run},
    i18n::{Texts, fill},
    literal::Form,
    payload::Payload,
    payload_view::{self, PayloadView},
    search::Query,
    transcript::{Delivery, Direction, Entry, EntryKind, Transcript},
};

/// The most bytes of a message in a dump, and in one that was asked for in full.
const MAX_DUMPED: [usize; 2] = [2048, 64 << 10];
/// The most characters of a message as text, likewise.
const MAX_WRITTEN: [usize; 2] = [20_000, 1 << 20];
/// The width of the panel from which dumps have 16 bytes to a line, in CSS pixels: with one message,
/// and with two.
const WIDE: [i32; 2] = [600, 1180];

pub(super) struct Detail {
    pub(super) root: El,
    title: El,
    pin: El,
    /// The tools that only messages have, and those that only sent ones have.
    tools: [El; 2],
    views: [El; 3],
    body: El,
    drawn: Option<Drawn>,
}

/// All that the content depends on, pins aside.
#[derive(PartialEq)]
struct Drawn {
    id: u64,
    delivery: Option<Delivery>,
    partner: Option<u64>,
    view: Option<PayloadView>,
    filter_version: u32,
    in_full: bool,
}

/// The two messages of an exchange, or one of them.
struct Messages<'a> {
    sent: Option<&'a Payload>,
    received: Option<&'a Payload>,
}

impl Detail {
    pub(super) fn new(texts: &Texts) -> Detail {
        let tool =
            |label: &str, action: Action| button(label, action).id(action.name()).class("quiet");
        let (title, pin) = (el("h3").id("detail-title"), tool(texts.pin, Action::PinRow));
        let views = PayloadView::ALL.map(|view| {
            let label = match view {
                PayloadView::Text => texts.view_text,
                PayloadView::Json => texts.view_json,
                PayloadView::Hex => texts.view_hex,
            };
            button(label, Action::ChoosePayloadView)
                .class("quiet")
                .id(&format!("view-{}", view.name()))
                .attr("data-argument", view.name())
        });
        let group = el("div").class("segments").attr("role", "group");
        let group = group.attr("aria-label", texts.view).children(&views);
        let copies = Form::ALL.map(|form| {
            let label = match form {
                Form::Text => texts.copy_text,
                Form::Hex => texts.copy_hex,
                Form::Base64 => texts.copy_base64,
                Form::C => texts.copy_c,
                Form::Python => texts.copy_python,
            };
            button(label, Action::CopyRow)
                .id(&format!("copy-{}", form.name()))
                .attr("data-argument", form.name())
        });
        let menu = el("div").class("menu").children(&copies);
        let summary = text("summary", texts.copy).id("copy");
        let copy = el("details").class("menu-button").child(&summary).child(&menu);
        let messages =
            el("div").class("tools").children([&group, &copy, &tool(texts.save, Action::SaveRow)]);
        let again = tool(texts.send_again, Action::EditRow);
        let close = tool(texts.close, Action::CloseRow);
        let tools = el("div").class("tools").children([&messages, &pin, &again, &close]);
        let head = el("header").child(&title).child(&tools);
        let body = el("div").class("body");
        let root = el("section").id("detail").class("detail").attr("hidden", "");
        let root = root.attr("aria-labelledby", "detail-title").action(Action::DetailKey);
        let root = root.child(&head).child(&body);
        Detail { root, title, pin, tools: [messages, again], views, body, drawn: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.drawn.is_some()
    }

    /// Draws the opened row; returns whether it is another one than before.
    pub(super) fn draw(
        &mut self,
        view: &TranscriptView,
        transcript: &Transcript,
        texts: &Texts,
    ) -> bool {
        let before = self.drawn.as_ref().map(|drawn| drawn.id);
        let Some(entry) = view.opened().and_then(|id| transcript.get(id)) else {
            self.drawn = None;
            self.root.show(false);
            return false;
        };
        let pinned = transcript.is_pinned(entry.id);
        self.pin.set_text(if pinned { texts.unpin } else { texts.pin });
        self.redraw(entry, view, transcript, texts);
        before != Some(entry.id)
    }

    fn redraw(
        &mut self,
        entry: &Entry,
        view: &TranscriptView,
        transcript: &Transcript,
        texts: &Texts,
    ) {
        let delivery = match &entry.kind {
            EntryKind::Sent(_, delivery) => Some(*delivery),
            _ => None,
        };
        let drawn = Some(Drawn {
            id: entry.id,
            delivery,
            partner: entry.kind.partner(),
            view: view.payload_view,
            filter_version: view.filter_version,
            in_full: view.in_full == Some(entry.id),
        });
        if self.drawn == drawn {
            return;
        }
        self.drawn = drawn;
        self.root.show(true);
        self.title.set_text(&title(entry, texts));
        let message = entry.kind.message();
        self.tools[0].show(message.is_some());
        self.tools[1].show(matches!(message, Some((Direction::Sent, _))));
        self.body.empty();
        let Some((direction, payload)) = message else {
            return self.draw_event(entry, texts);
        };
        let shown = PayloadView::of(payload, view.payload_view);
        for (button, view) in self.views.iter_mut().zip(PayloadView::ALL) {
            button.set_flag("aria-pressed", view == shown);
            let has = PayloadView::of(payload, Some(view)) == view;
            button.set_if("aria-disabled", "true", !has);
        }
        let partner = entry.kind.partner().and_then(|id| transcript.get(id));
        let other = partner.and_then(|row| row.kind.message()).map(|(_, payload)| payload);
        let messages = match direction {
            Direction::Sent => Messages { sent: Some(payload), received: other },
            Direction::Received => Messages { sent: other, received: Some(payload) },
        };
        let query = &view.matches.filter().query;
        self.draw_messages(&messages, view, query, texts);
    }

    fn draw_event(&self, entry: &Entry, texts: &Texts) {
        let sentence = entry.kind.sentence(texts).unwrap_or_default();
        self.body.append(&text("p", &sentence).class("summary"));
        if let EntryKind::Ended(cause) = &entry.kind {
            self.body.append(&text("p", cause.advice(texts)).class("details advice"));
        }
    }

    fn draw_messages(
        &self,
        messages: &Messages<'_>,
        view: &TranscriptView,
        query: &Query,
        texts: &Texts,
    ) {
        let Messages { sent, received } = *messages;
        let is_pair = sent.is_some() && received.is_some();
        if let Some((sent, received)) = sent.zip(received) {
            self.body.append(&text("p", &summary(sent, received, texts)).class("summary"));
        }
        let in_full = usize::from(view.in_full.is_some() && view.in_full == view.selected);
        let wide = self.root.node.client_width() >= WIDE[usize::from(is_pair)];
        let style =
            Style { choice: view.payload_view, query, in_full, width: if wide { 16 } else { 8 } };
        let both = el("div").class("both");
        for (title, payload, other) in
            [(texts.sent, sent, received), (texts.received, received, sent)]
        {
            if let Some(payload) = payload {
                both.append(&figure(title, payload, other, &style, texts));
            }
        }
        self.body.append(&both);
    }
}

/// The way in which messages are shown.
struct Style<'a> {
    choice: Option<PayloadView>,
    query: &'a Query,
    /// 1 for a message that was asked for in full, otherwise 0.
    in_full: usize,
    /// Bytes to a line of a dump.
    width: usize,
}

/// `Received on 2026-09-21 at 14:13:20.123`.
fn title(entry: &Entry, texts: &Texts) -> String {
    let what = match entry.kind.message() {
        Some((Direction::Sent, _)) => texts.sent,
        Some((Direction::Received, _)) => texts.received,
        None => texts.event,
    };
    let time = format::clock(entry.at, browser::minutes_ahead(entry.at));
    fill(texts.row_title, &[what, &browser::local_date(entry.at), &time])
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

/// One message.
fn figure(
    title: &str,
    payload: &Payload,
    other: Option<&Payload>,
    style: &Style<'_>,
    texts: &Texts,
) -> El {
    let about = format!("{} · {}", texts.message_type(payload), texts.bytes(payload.len() as u64));
    let caption = text("figcaption", title).plain_text(" ").child(&text("small", &about));
    let figure = el("figure").child(&caption);
    match PayloadView::of(payload, style.choice) {
        PayloadView::Json => {
            if let Some(value) = payload_view::json(payload) {
                figure.append(&json_tree::tree(&value, texts));
            }
        }
        PayloadView::Text => draw_text(&figure, payload, other, style, texts),
        PayloadView::Hex => draw_dump(&figure, payload, other, style, texts),
    }
    figure
}

fn draw_text(
    figure: &El,
    payload: &Payload,
    other: Option<&Payload>,
    style: &Style<'_>,
    texts: &Texts,
) {
    let most = MAX_WRITTEN[style.in_full];
    let all = payload.as_text().unwrap_or_default();
    let end = all.char_indices().nth(most).map_or(all.len(), |(at, _)| at);
    let mut pre = el("pre").class("text").attr("dir", "auto").attr("tabindex", "0");
    if style.query.is_any() {
        runs(&pre, hexdump::text(&all[..end], other.map(Payload::bytes)), "");
    } else {
        set_marked(&mut pre, &all[..end], style.query);
    }
    figure.append(&pre);
    draw_cut(figure, end, all.len(), style, texts);
}

fn draw_dump(
    figure: &El,
    payload: &Payload,
    other: Option<&Payload>,
    style: &Style<'_>,
    texts: &Texts,
) {
    let (bytes, most) = (payload.bytes(), MAX_DUMPED[style.in_full]);
    let pre = el("pre").class("hexdump").attr("tabindex", "0");
    for line in hexdump::lines(bytes, other.map(Payload::bytes), most, style.width) {
        pre.append(&text("span", &format!("{:04x}  ", line.offset)).class("offset"));
        runs(&pre, line.digits, " ");
        let pre = pre.clone().plain_text(&line.padding).plain_text("  ");
        runs(&pre, line.ascii, "");
        let _ended = pre.plain_text("\n");
    }
    figure.append(&pre);
    draw_cut(figure, bytes.len().min(most), bytes.len(), style, texts);
}

/// Says where a message is cut, and offers more of it.
fn draw_cut(figure: &El, shown: usize, all: usize, style: &Style<'_>, texts: &Texts) {
    if shown == all {
        return;
    }
    let parts = [format::size(shown as u64), format::size(all as u64)];
    let cut = fill(texts.first_bytes, &[&parts[0], &parts[1]]);
    let notice = text("p", &cut).class("details").plain_text(" ");
    if style.in_full == 0 {
        notice.append(&button(texts.show_more, Action::ShowInFull).class("quiet"));
    }
    figure.append(&notice);
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
