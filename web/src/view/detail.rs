//! An opened row: a message in full and the other one of its exchange, as text, JSON or a hex dump
//! with the differences marked.

use super::{
    action::Action,
    browser,
    dom::{El, button, el, text},
    forms::TranscriptView,
    payload_figure::{self, Style},
};
use crate::{
    format, hexdump,
    i18n::{Texts, fill},
    literal::Form,
    payload::Payload,
    payload_view::PayloadView,
    search::Query,
    session::Session,
    transcript::{Direction, Entry, EntryKind},
};

/// The width of the panel, in CSS pixels, from which on dumps have 16 bytes per line: with one message,
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
    partner: Option<u64>,
    view: Option<PayloadView>,
    filter_version: u32,
    in_full: bool,
    compares: bool,
}

/// The two messages of an exchange, or one of them.
struct Messages<'a> {
    sent: Option<&'a Payload>,
    received: Option<&'a Payload>,
    /// Whether their differences are shown.
    compares: bool,
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

    /// Draws the opened row; returns whether the content has changed, and with it the height.
    pub(super) fn draw(&mut self, view: &TranscriptView, session: &Session, texts: &Texts) -> bool {
        let transcript = session.transcript();
        let Some(entry) = view.opened().and_then(|id| transcript.get(id)) else {
            self.root.show(false);
            return self.drawn.take().is_some();
        };
        let pinned = transcript.is_pinned(entry.id);
        self.pin.set_text(if pinned { texts.unpin } else { texts.pin });
        self.redraw(entry, view, session, texts)
    }

    /// Draws the opened row anew if what it depends on has changed; returns whether it has.
    fn redraw(
        &mut self,
        entry: &Entry,
        view: &TranscriptView,
        session: &Session,
        texts: &Texts,
    ) -> bool {
        let compares = session.pairing().compares();
        let drawn = Some(Drawn {
            id: entry.id,
            partner: entry.kind.partner(),
            view: view.payload_view,
            filter_version: view.filter_version,
            in_full: view.in_full == Some(entry.id),
            compares,
        });
        if self.drawn == drawn {
            return false;
        }
        self.drawn = drawn;
        self.root.show(true);
        self.title.set_text(&title(entry, texts));
        let message = entry.kind.message();
        self.tools[0].show(message.is_some());
        self.tools[1].show(matches!(message, Some((Direction::Sent, _))));
        self.body.empty();
        let Some((direction, payload)) = message else {
            self.draw_event(entry, texts);
            return true;
        };
        let shown = PayloadView::of(payload, view.payload_view);
        for (button, view) in self.views.iter_mut().zip(PayloadView::ALL) {
            button.set_flag("aria-pressed", view == shown);
            let has = PayloadView::of(payload, Some(view)) == view;
            button.set_if("aria-disabled", "true", !has);
        }
        let partner = entry.kind.partner().and_then(|id| session.transcript().get(id));
        let other = partner.and_then(|row| row.kind.message()).map(|(_, payload)| payload);
        let (sent, received) = match direction {
            Direction::Sent => (Some(payload), other),
            Direction::Received => (other, Some(payload)),
        };
        let messages = Messages { sent, received, compares };
        let query = &view.matches.filter().query;
        self.draw_messages(&messages, view, query, texts);
        true
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
        let Messages { sent, received, compares } = *messages;
        let is_pair = sent.is_some() && received.is_some();
        if let Some((sent, received)) = sent.zip(received).filter(|_| compares) {
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
                let other = other.filter(|_| compares);
                both.append(&payload_figure::figure(title, payload, other, &style, texts));
            }
        }
        self.body.append(&both);
    }
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
