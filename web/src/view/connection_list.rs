//! The list of the server's connections.

use super::{
    action::Action,
    dom::{El, button, el, panel, text},
    keyed_list::{self, KeyedRow},
    model::Model,
};
use crate::{
    format,
    i18n::{Texts, fill},
    live::ConnectionRow,
    redraw::{earliest, next_second},
    time::Millis,
};

/// The most connections in the list.
const MAX_LISTED: usize = 60;
/// The time for which a connection is highlighted after traffic.
const HIGHLIGHT: Millis = 700.0;

pub(super) struct ConnectionList {
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
    follow: El,
    kind: El,
    replica: El,
    peer: El,
    mine: El,
    target: El,
    inward: El,
    outward: El,
    age: El,
}

impl ConnectionList {
    pub(super) fn new(texts: &'static Texts) -> ConnectionList {
        let (root, head) = panel("clients", texts.clients);
        let total = el("span").id("clients-total").class("soft");
        head.append(&total);
        let note = el("p").id("clients-note").class("details");
        let more = el("p").class("details");
        let list = el("ul").class("clients");
        let root = root.child(&note).child(&list).child(&more);
        ConnectionList { root, total, list, rows: Vec::new(), note, more }
    }

    /// Draws; returns the time at which a highlight ends or an age changes.
    pub(super) fn draw(&mut self, model: &Model, now: Millis) -> Option<Millis> {
        let (texts, live) = (model.texts, &model.live);
        self.total.set_text(&if live.is_connected() {
            fill(texts.clients_total, &[&format::grouped(live.total() as u64)])
        } else {
            String::new()
        });
        let note = note(model, now);
        self.note.set_text(&note);
        self.note.show(!note.is_empty());
        let mine: Vec<&ConnectionRow> =
            model.sockets().filter_map(|connection| live.with_label(&connection.label)).collect();
        let upstreams: Vec<&ConnectionRow> =
            mine.iter().filter_map(|row| live.upstream_of(row)).collect();
        let is_in = |rows: &[&ConnectionRow], row: &ConnectionRow| {
            rows.iter().any(|one| one.connection.id == row.connection.id)
        };
        // The page's own connections are in the list however many others there are.
        let rank = |row: &ConnectionRow| match row {
            _ if is_in(&mine, row) => 0,
            _ if is_in(&upstreams, row) => 1,
            row if row.connection.replica.is_none() => 2,
            _ => 3,
        };
        let ranked: Vec<_> = live.rows().map(|row| (rank(row), row)).collect();
        // A sort would add more to the page's size.
        let of_rank = |rank| ranked.iter().filter(move |it| it.0 == rank).map(|it| it.1);
        let listed: Vec<_> = (0..4).flat_map(of_rank).take(MAX_LISTED).collect();
        let ids: Vec<u64> = listed.iter().map(|shown| shown.connection.id).collect();
        keyed_list::arrange(&self.list, &mut self.rows, &ids, |rank| Row::new(listed[rank], texts));
        for (row, shown) in self.rows.iter_mut().zip(&listed) {
            let role = match (is_in(&mine, shown), is_in(&upstreams, shown)) {
                (true, _) => texts.clients_you,
                (_, true) => texts.clients_upstream,
                _ => "",
            };
            row.draw(shown, role, texts, live.as_of(now));
            row.draw_follow(shown.ended.is_none() || model.tab_of(shown).is_some(), texts);
        }
        let more =
            live.total().saturating_sub(listed.iter().filter(|it| it.ended.is_none()).count());
        self.more.set_text(&fill(texts.clients_more, &[&format::grouped(more as u64)]));
        self.more.show(more > 0 && live.has_data());
        let highlights = listed.iter().map(|shown| shown.last_traffic + HIGHLIGHT);
        let ages = (!listed.is_empty() || !live.is_connected()).then(|| next_second(now));
        earliest(highlights.filter(|at| *at > now).map(Some).chain([ages]))
    }
}

impl KeyedRow for Row {
    fn key(&self) -> u64 {
        self.id
    }

    fn root(&self) -> &El {
        &self.root
    }
}

impl Row {
    fn new(shown: &ConnectionRow, texts: &Texts) -> Row {
        let connection = &shown.connection;
        let peer = el("bdi").class("peer");
        let [kind, replica, mine, target, age] =
            ["kind", "replica", "mine", "target", "age"].map(|class| el("span").class(class));
        let (sent, inward) = flow("in", "↑ ", texts.sent);
        let (received, outward) = flow("out", "↓ ", texts.received);
        let line = |parts: &[&El]| el("span").class("parts").children(parts.iter().copied());
        let follow = button("", Action::FollowClient)
            .attr("data-argument", &connection.id.to_string())
            .children([
                &line(&[&kind, &replica, &mine, &age]),
                &peer,
                &line(&[&target, &sent, &received]),
            ]);
        let root = el("li").class("client").attr("data-kind", connection.kind.name());
        let root = root.child(&follow);
        Row {
            id: connection.id,
            root,
            follow,
            kind,
            replica,
            peer,
            mine,
            target,
            inward,
            outward,
            age,
        }
    }

    fn draw(&mut self, shown: &ConnectionRow, role: &str, texts: &Texts, now: Millis) {
        let connection = &shown.connection;
        let carried = &connection.carried;
        self.kind.set_text(format::transport_name(connection.kind));
        self.replica.set_text(connection.replica.as_deref().unwrap_or_default());
        self.replica.show(connection.replica.is_some());
        self.peer.set_text(connection.peer.as_deref().unwrap_or("–"));
        self.mine.set_text(role);
        self.mine.show(!role.is_empty());
        self.root.set_flag("data-mine", !role.is_empty());
        self.root.set_flag("data-highlight", now - shown.last_traffic < HIGHLIGHT);
        self.root.set_flag("data-ended", shown.ended.is_some());
        self.target.set_text(&match &shown.ended {
            Some((end, _)) => fill(texts.clients_ended, &[&texts.reason(end)]),
            None => connection.target.to_string(),
        });
        self.inward.set_text(&carried_text(carried.bytes_received, carried.messages_received));
        self.outward.set_text(&carried_text(carried.bytes_sent, carried.messages_sent));
        self.age.set_text(&format::age(shown.age(now)));
    }

    /// Draws whether a click leads to what the connection carries.
    fn draw_follow(&mut self, is_possible: bool, texts: &Texts) {
        self.follow.set_flag("aria-disabled", !is_possible);
        self.follow.set("title", if is_possible { texts.follow } else { texts.follow_too_late });
    }
}

/// The notice above the list: what is missing, or how to connect a client.
fn note(model: &Model, now: Millis) -> String {
    let (texts, live) = (model.texts, &model.live);
    if let Some(trouble) = live.trouble(texts, now) {
        trouble
    } else if !live.missing().is_empty() {
        let names: Vec<String> = live.missing().iter().map(ToString::to_string).collect();
        fill(texts.clients_missing, &[&format::joined(&names, ", ")])
    } else if live.total() > 0 || live.rows().next().is_some() {
        String::new()
    } else {
        match model.command_for("upper") {
            Some(command) => fill(texts.clients_try, &[&command]),
            None => texts.clients_none.to_owned(),
        }
    }
}

/// The traffic in one direction: an arrow, its meaning for screen readers, and the amount, which is
/// returned as well.
fn flow(class: &str, arrow: &str, spoken: &str) -> (El, El) {
    let amount = el("span");
    let arrow = text("span", arrow).attr("aria-hidden", "true");
    let spoken = text("span", spoken).class("unseen");
    (el("span").class(class).children([&arrow, &spoken, &amount]), amount)
}

fn carried_text(bytes: u64, messages: u64) -> String {
    let messages =
        if messages > 0 { format!(" · {}", format::grouped(messages)) } else { String::new() };
    format!("{}{messages}", format::size(bytes))
}
