//! A message in full: as text, as a tree of JSON values, or as a hex dump.

use super::{
    action::Action,
    dom::{El, button, el, text},
    json_tree,
    row::{append_escaped, set_marked},
};
use crate::{
    format,
    hexdump::{self, Run},
    i18n::{Texts, fill},
    payload::Payload,
    payload_view::{self, PayloadView},
    search::Query,
};

/// The most bytes of a message in a dump, and in one that was asked for in full.
const MAX_DUMPED: [usize; 2] = [2048, 64 << 10];
/// The most characters of a message as text, likewise.
const MAX_WRITTEN: [usize; 2] = [20_000, 1 << 20];

/// The way in which messages are shown.
pub(super) struct Style<'a> {
    pub(super) choice: Option<PayloadView>,
    pub(super) query: &'a Query,
    /// 1 for a message that was asked for in full, otherwise 0.
    pub(super) in_full: usize,
    /// Bytes per line of a dump.
    pub(super) width: usize,
}

/// One message, with the differences from the other one of its exchange marked.
pub(super) fn figure(
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
        set_marked(&mut pre, &all[..end], style.query, true);
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
        if at > 0 {
            let _added = pre.clone().plain_text(between);
        }
        if run.changed {
            let mark = el("mark");
            append_escaped(&mark, &run.text, true);
            pre.append(&mark);
        } else {
            append_escaped(pre, &run.text, true);
        }
    }
}
