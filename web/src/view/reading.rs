//! What somebody does to read a transcript.

use super::{act::Act, app::App, browser, wire::Wire};
use crate::{
    filter::{Matches, Show},
    list::Sight,
};

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    super::detail::act(app, act) || read(app, act)
}

fn read(app: &mut App, act: &Act) -> bool {
    let words = app.model.words;
    let wire = app.model.wire();
    if act.is("scroll", "list") {
        scrolled(wire, act);
    } else if act.is("click", "row") {
        let id = act.with.parse().ok();
        wire.reading.is_open = wire.reading.selected != id || !wire.reading.is_open;
        wire.reading.selected = id;
    } else if act.is("keydown", "list") {
        return key(wire, act);
    } else if act.asks("to-end") {
        wire.reading.follow = true;
        browser::focus("transcript");
    } else if act.is("input", "search") {
        let show = wire.reading.show;
        wire.choose(show, &act.value());
    } else if act.is("change", "show") {
        let show = act.value().parse().ok().and_then(|at: usize| Show::ALL.get(at).copied());
        let text = wire.reading.text.clone();
        wire.choose(show.unwrap_or_default(), &text);
    } else if act.asks("clear") {
        wire.session.transcript_mut().clear();
        (wire.reading.selected, wire.reading.note) = (None, String::new());
        let (show, text) = (wire.reading.show, wire.reading.text.clone());
        wire.choose(show, &text);
    } else {
        return super::file::keep(app, act, words);
    }
    true
}

fn scrolled(wire: &mut Wire, act: &Act) {
    let node = &act.node;
    let top = f64::from(node.scroll_top());
    let bottom = f64::from(node.scroll_height() - node.client_height());
    if bottom - top < 8.0 {
        wire.reading.follow = true;
    } else if top < wire.reading.top - 1.0 {
        // Upwards: that is somebody's doing, and not that of a list which grows.
        wire.reading.follow = false;
    }
    wire.reading.top = top;
}

/// The keys of the list: one goes through it, opens a row and closes it.
fn key(wire: &mut Wire, act: &Act) -> bool {
    let Some(key) = act.key() else { return false };
    let Wire { session, reading, .. } = wire;
    let transcript = session.transcript();
    let rows = reading.matches.len(transcript);
    let place = |matches: &Matches| reading.selected.and_then(|id| matches.place(transcript, id));
    let here = place(&reading.matches);
    let page = 10;
    let to = match &*key {
        "ArrowUp" => here.map_or(rows.checked_sub(1), |at| Some(at.saturating_sub(1))),
        "ArrowDown" => here.map_or(Some(0), |at| Some(at + 1)),
        "PageUp" => here.map(|at| at.saturating_sub(page)),
        "PageDown" => here.map(|at| at + page),
        "Home" => Some(0),
        "End" => rows.checked_sub(1),
        "Enter" | " " => {
            reading.is_open = !reading.is_open && here.is_some();
            act.handled();
            return true;
        }
        "Escape" => {
            reading.is_open = false;
            return true;
        }
        "p" => {
            reading.selected.map(|id| session.transcript_mut().toggle_pin(id));
            return true;
        }
        _ => return false,
    };
    act.handled();
    if let Some(at) = to.filter(|_| rows > 0).map(|at| at.min(rows - 1)) {
        reading.selected = reading.matches.at(transcript, at).map(|row| row.id);
        reading.follow = at + 1 == rows;
        let row = act.node.query_selector(".message, .note").ok().flatten();
        let height = row.map_or(36.0, |row| row.get_bounding_client_rect().height());
        let inner = f64::from(act.node.client_height()) - height;
        reading.top = Sight { rows, row: height, top: reading.top, height: inner }.reveal(at);
    }
    true
}
