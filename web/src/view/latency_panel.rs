//! The latency panel: the waterfall of the chosen message, or else of the latest.

use super::{
    browser,
    dom::{El, el, panel},
    model::Model,
    socket,
};
use crate::{
    format,
    i18n::{Texts, fill},
    live,
    time::Millis,
    waterfall::{Hops, Leg, Part, Waterfall},
};

/// The most legs of an exchange.
const MAX_LEGS: usize = 5;

pub(super) struct LatencyPanel {
    pub(super) root: El,
    subject: El,
    list: El,
    rows: [LegRow; MAX_LEGS],
    total: El,
    hint: El,
}

/// A leg: its name, its bars on the time axis of the exchange, and its time.
struct LegRow {
    root: El,
    name: El,
    bars: [El; 2],
    time: El,
}

impl LatencyPanel {
    pub(super) fn new(texts: &'static Texts) -> LatencyPanel {
        let (root, header) = panel("latency", texts.latency);
        let subject = el("span").id("latency-subject").class("details");
        header.append(&subject);
        let rows: [LegRow; MAX_LEGS] = std::array::from_fn(|_| LegRow::new());
        let list = el("ol").class("waterfall").children(rows.iter().map(|row| &row.root));
        let total = el("p").id("latency-total").class("details");
        let hint = el("p").id("latency-hint").class("details");
        // The body's height does not depend on the number of legs: the panels below do not move.
        let body = el("div").class("latency-body").children([&list, &total, &hint]);
        let root = root.child(&body);
        LatencyPanel { root, subject, list, rows, total, hint }
    }

    /// Draws; returns the time at which a later exchange replaces the one shown.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let texts = model.texts;
        let Model { connections, chosen, endpoints, .. } = model;
        let connection = &connections[*chosen];
        self.root.show(!connection.is_read_only());
        let exchanges = connection.session.exchanges();
        let opened = connection.view.opened();
        let of_row = opened.and_then(|row| connection.session.exchange_of(row));
        let (exchange, until) = match of_row {
            Some(exchange) => (Some(exchange), None),
            None => exchanges.latest(now),
        };
        self.list.show(exchange.is_some());
        self.total.show(exchange.is_some());
        self.subject.show(exchange.is_some());
        self.hint.show(exchange.is_none());
        let Some(exchange) = exchange else {
            let sent = connection.session.stats().sent.messages > 0;
            self.hint.set_text(if sent { texts.latency_unpaired } else { texts.latency_none });
            return None;
        };
        let subject = if of_row.is_some() { texts.latency_chosen } else { texts.latency_latest };
        self.subject.set_text(subject);
        let location = browser::location();
        let path = location.local_path(connection.session.url());
        let hops = path.map_or(Hops::Unknown, |path| live::hops(endpoints, path));
        let waterfall = Waterfall::new(exchange, hops, socket::clock_resolution());
        for (at, row) in self.rows.iter_mut().enumerate() {
            row.draw(waterfall.legs.get(at), texts);
        }
        self.total.set_text(&total(&waterfall, texts));
        until
    }
}

fn total(waterfall: &Waterfall<'_>, texts: &Texts) -> String {
    let round_trip = socket::measured(waterfall.round_trip);
    match waterfall.total {
        Some(total) => fill(texts.latency_total, &[&round_trip, &socket::measured(total)]),
        None => fill(texts.latency_round_trip, &[&round_trip]),
    }
}

impl LegRow {
    fn new() -> LegRow {
        let (name, time) = (el("span").class("leg-name"), el("span").class("leg-time"));
        let bars = [el("span"), el("span")];
        let track = el("span").class("track").attr("aria-hidden", "true").children(&bars);
        let root = el("li").children([&name, &track, &time]);
        LegRow { root, name, bars, time }
    }

    fn draw(&mut self, leg: Option<&Leg<'_>>, texts: &Texts) {
        self.root.show(leg.is_some());
        let Some(leg) = leg else { return };
        let (part, name, about) = match leg.part {
            Part::Page => ("page", texts.leg_page, texts.leg_page_about),
            Part::RoundTrip => ("round-trip", texts.leg_round_trip, texts.leg_round_trip_about),
            Part::Network => ("network", texts.leg_network, texts.leg_network_about),
            Part::Gateway => ("gateway", texts.latency_gateway, texts.leg_gateway_about),
            Part::Transport(name) => ("transport", name, texts.leg_transport_about),
            Part::Upstream(name) => ("upstream", name, texts.leg_upstream_about),
            Part::Service(name) => ("service", name, texts.leg_service_about),
        };
        self.root.set("data-part", part);
        self.name.set_text(name);
        self.root.set("title", about);
        self.time.set_text(&format::measured(leg.micros, leg.resolution));
        for (at, bar) in self.bars.iter_mut().enumerate() {
            let span = leg.bars.get(at);
            bar.show(span.is_some());
            if let Some((from, to)) = span {
                bar.style("left", &per_mille(*from));
                bar.style("width", &per_mille(to - from));
            }
        }
    }
}

fn per_mille(share: u32) -> String {
    format!("{}.{}%", share / 10, share % 10)
}
