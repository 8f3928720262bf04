//! Who is connected to the server now, as it tells.

use super::{
    dom::{El, el, text},
    model::Model,
    screen::panel,
};
use crate::{
    format,
    live::{self, Guest},
    time::Millis,
    words::{Words, fill},
};

/// The most connections that are listed.
const LISTED: usize = 60;
/// How long a connection that carried something is marked.
const MARKED: Millis = 700.0;

pub(super) struct Who {
    pub(super) root: El,
    total: El,
    list: El,
    rows: Vec<Row>,
    note: El,
    more: El,
}

struct Row {
    id: u64,
    root: El,
    kind: El,
    peer: El,
    mine: El,
    target: El,
    inward: El,
    outward: El,
    age: El,
}

impl Who {
    pub(super) fn new(words: &'static Words) -> Who {
        let (root, head) = panel("who", words.who);
        let total = el("span").id("who-total").class("soft");
        head.append(&total);
        let note = el("p").id("who-note").class("details");
        let more = el("p").class("details");
        let list = el("ul").class("guests");
        let root = root.with(&note).with(&list).with(&more);
        Who { root, total, list, rows: Vec::new(), note, more }
    }

    pub(super) fn draw(&mut self, model: &Model, now: Millis) {
        let (words, live) = (model.words, &model.live);
        self.total.set_text(&if live.is_known() {
            fill(words.who_total, &[&format::grouped(live.total() as u64)])
        } else {
            String::new()
        });
        let note = match (live.is_known(), live.is_connected()) {
            (false, _) => words.who_unknown,
            (true, false) => words.who_lost,
            (true, true) if live.total() == 0 => words.who_none,
            (true, true) => "",
        };
        self.note.set_text(note);
        self.note.show(!note.is_empty());
        let guests: Vec<&Guest> = live.guests().take(LISTED).collect();
        let mine = |guest: &Guest| {
            let label = guest.connection.label.as_deref();
            label.is_some_and(|label| model.wires.iter().any(|wire| wire.label == label))
        };
        let behind: Vec<u64> = model
            .wires
            .iter()
            .filter_map(|wire| live.behind(live.labelled(&wire.label)?))
            .map(|guest| guest.connection.id)
            .collect();
        self.arrange(&guests);
        for (row, guest) in self.rows.iter_mut().zip(&guests) {
            let whose = match (mine(guest), behind.contains(&guest.connection.id)) {
                (true, _) => words.who_you,
                (_, true) => words.who_behind,
                _ => "",
            };
            row.draw(guest, whose, words, now);
        }
        let more =
            live.total().saturating_sub(guests.iter().filter(|it| it.ended.is_none()).count());
        self.more.set_text(&fill(words.who_more, &[&format::grouped(more as u64)]));
        self.more.show(more > 0 && live.is_known());
    }

    /// Has a row for each of them, in their order, those that stay where they are.
    fn arrange(&mut self, guests: &[&Guest]) {
        let stays = |row: &Row| guests.iter().any(|guest| guest.connection.id == row.id);
        self.rows.retain(|row| {
            let stays = stays(row);
            if !stays {
                row.root.node.remove();
            }
            stays
        });
        for (at, guest) in guests.iter().enumerate() {
            if self.rows.get(at).is_none_or(|row| row.id != guest.connection.id) {
                let row = Row::new(guest);
                let next = self.rows.get(at).map(|row| row.root.node.clone());
                self.list.node.insert_before(&row.root.node, next.as_deref()).ok();
                self.rows.insert(at, row);
            }
        }
    }
}

impl Row {
    fn new(guest: &Guest) -> Row {
        let connection = &guest.connection;
        let kind = text("span", live::kind(connection.kind)).class("kind");
        let peer = text("bdi", connection.peer.as_deref().unwrap_or("–")).class("peer");
        let [mine, target, inward, outward, age] =
            ["mine", "target", "in", "out", "age"].map(|class| el("span").class(class));
        let who = el("div").all([&kind, &peer, &mine, &age]);
        let what = el("div").all([&target, &inward, &outward]);
        let root = el("li").class("guest").attr("data-kind", connection.kind.name());
        let root = root.with(&who).with(&what);
        Row { id: connection.id, root, kind, peer, mine, target, inward, outward, age }
    }

    fn draw(&mut self, guest: &Guest, whose: &str, words: &Words, now: Millis) {
        let connection = &guest.connection;
        let carried = &connection.carried;
        self.kind.set_text(live::kind(connection.kind));
        self.peer.set_text(connection.peer.as_deref().unwrap_or("–"));
        self.mine.set_text(whose);
        self.mine.show(!whose.is_empty());
        self.root.set("data-mine", if whose.is_empty() { "false" } else { "true" });
        self.root.set("data-moved", if now - guest.moved < MARKED { "true" } else { "false" });
        self.root.set("data-ended", if guest.ended.is_some() { "true" } else { "false" });
        self.target.set_text(&match &guest.ended {
            Some((end, _)) => fill(words.who_ended, &[end]),
            None => connection.target.to_string(),
        });
        self.inward.set_text(&flow("↓", carried.bytes_received, carried.messages_received));
        self.outward.set_text(&flow("↑", carried.bytes_sent, carried.messages_sent));
        self.age.set_text(&format::age(guest.age(now)));
    }
}

fn flow(arrow: &str, bytes: u64, messages: u64) -> String {
    let messages =
        if messages > 0 { format!(" · {}", format::grouped(messages)) } else { String::new() };
    format!("{arrow} {}{messages}", format::size(bytes))
}
