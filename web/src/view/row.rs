//! A row of the transcript.

use super::{
    action::Action,
    browser,
    dom::{El, el, text},
    socket,
};
use crate::{
    format,
    i18n::Texts,
    payload::Payload,
    search::Query,
    transcript::{Delivery, Direction, Entry, EntryKind},
};

/// The most characters or bytes of a message in its row.
const MAX_PREVIEW: usize = 300;
/// The characters before a hit, where the row does not begin with the message.
const BEFORE_HIT: usize = 20;
/// The most hits that are marked in a row.
const MAX_MARKS: usize = 50;

/// The most escapes with a style of their own in a text.
const MAX_ESCAPES: usize = 10_000;

/// A drawn row.
pub(super) struct Row {
    drawn: Option<Drawn>,
    pub(super) root: El,
    cells: [El; 6],
    direction: El,
    spoken: El,
}

/// The way in which rows are drawn.
pub(super) struct Style<'a> {
    /// The search whose hits are marked.
    pub(super) query: &'a Query,
    pub(super) filter_version: u32,
    /// Whether times have a date.
    pub(super) dated: bool,
    /// Whether the rows are bytes of a stream, which has no messages.
    pub(super) is_stream: bool,
}

/// All that a row's content depends on.
#[derive(PartialEq)]
struct Drawn {
    id: u64,
    delivery: Option<Delivery>,
    partner: Option<u64>,
    is_refused: bool,
    filter_version: u32,
}

impl Row {
    pub(super) fn new() -> Row {
        let classes = ["time", "direction", "kind", "size", "payload", "reply"];
        let cells = classes.map(|class| el("span").class(class).attr("role", "gridcell"));
        let (direction, spoken) =
            (el("span").attr("aria-hidden", "true"), el("span").class("unseen"));
        cells[1].append(&direction);
        cells[1].append(&spoken);
        let root = el("div").attr("role", "row").action(Action::ToggleRow).children(&cells);
        Row { drawn: None, root, cells, direction, spoken }
    }

    /// Forgets the drawn entry, as when the rows of another connection are drawn.
    pub(super) fn forget(&mut self) {
        self.drawn = None;
    }

    pub(super) fn draw(&mut self, entry: &Entry, style: &Style<'_>, texts: &Texts) {
        let Style { query, filter_version, dated, is_stream } = *style;
        let delivery = match &entry.kind {
            EntryKind::Sent(_, delivery) => Some(*delivery),
            _ => None,
        };
        let partner = entry.kind.partner();
        let is_refused = matches!(entry.kind, EntryKind::Opened { refused: true, .. });
        let drawn = Some(Drawn { id: entry.id, delivery, partner, is_refused, filter_version });
        if self.drawn == drawn {
            return;
        }
        self.drawn = drawn;
        self.root.set("id", &format!("row-{}", entry.id));
        self.root.set("data-argument", &entry.id.to_string());
        let normal = !matches!(&entry.kind, EntryKind::Ended(cause) if !cause.is_normal());
        self.root.set_flag("data-normal", normal);
        let [time, _, kind, size, payload, reply] = &mut self.cells;
        time.set_text(&written_time(entry, dated));
        let Some((direction, message)) = entry.kind.message() else {
            self.root.set("class", "line note");
            set_marked(payload, &entry.kind.sentence(texts).unwrap_or_default(), query, false);
            reply.set_text("");
            return;
        };
        let (class, arrow, spoken) = match direction {
            Direction::Sent => ("line message sent", "↑", texts.sent),
            Direction::Received => ("line message received", "↓", texts.received),
        };
        self.root.set("class", class);
        self.direction.set_text(arrow);
        self.spoken.set_text(spoken);
        kind.set_text(if is_stream { texts.bytes_type } else { texts.message_type(message) });
        size.set_text(&format::size(message.len() as u64));
        if message.is_empty() {
            payload.set_text(texts.empty_message);
        } else {
            let from = first_shown(message, query);
            set_marked(payload, &format::excerpt(message, from, MAX_PREVIEW), query, false);
        }
        let remark = entry.kind.remark(texts);
        let round_trip = entry.kind.round_trip().map(|trip| format!("+{}", socket::measured(trip)));
        reply.set_text(remark.unwrap_or(round_trip.as_deref().unwrap_or_default()));
    }
}

fn written_time(entry: &Entry, dated: bool) -> String {
    let clock = format::clock(entry.at, browser::minutes_ahead(entry.at));
    if dated { format!("{} {clock}", browser::local_date(entry.at)) } else { clock }
}

/// The first character of a message that its row shows: one before the first hit, if that would be
/// cut.
fn first_shown(message: &Payload, query: &Query) -> usize {
    let Some(text) = message.as_text().filter(|text| text.len() > MAX_PREVIEW) else { return 0 };
    let hits = query.hits(text, 1);
    let hit = hits.first().map_or(0, |hit| text[..hit.start].chars().count());
    if hit < MAX_PREVIEW / 2 { 0 } else { hit - BEFORE_HIT }
}

/// Writes a text with the hits of a search marked, and its invisible characters as escapes; in a text
/// of lines, line breaks and tabs are themselves.
pub(super) fn set_marked(cell: &mut El, written: &str, query: &Query, has_lines: bool) {
    let hits = query.hits(written, MAX_MARKS);
    if hits.is_empty() && !written.contains(format::is_invisible) {
        return cell.set_text(written);
    }
    cell.empty();
    let mut end = 0;
    for hit in hits {
        append_escaped(cell, &written[end..hit.start], has_lines);
        let mark = el("mark");
        append_escaped(&mark, &written[hit.clone()], has_lines);
        cell.append(&mark);
        end = hit.end;
    }
    append_escaped(cell, &written[end..], has_lines);
}

/// Appends a text with its invisible characters as escapes, which the style tells from the text.
pub(super) fn append_escaped(to: &El, written: &str, has_lines: bool) {
    let is_text = |c: char| !format::is_invisible(c) || has_lines && matches!(c, '\n' | '\t');
    let mut rest = written;
    for _ in 0..MAX_ESCAPES {
        let end = rest.find(|c| !is_text(c)).unwrap_or(rest.len());
        let _text = to.clone().plain_text(&rest[..end]);
        rest = &rest[end..];
        if rest.is_empty() {
            return;
        }
        let end = rest.find(is_text).unwrap_or(rest.len());
        to.append(&text("span", &format::escaped(&rest[..end])).class("escape"));
        rest = &rest[end..];
    }
    let _text = to.clone().plain_text(&format::escaped(rest));
}
