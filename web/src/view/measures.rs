//! What was measured on the chosen connection: counters, and plots as SVG with a table beside.

use super::{
    dom::{El, el, svg, text},
    model::Model,
    screen::panel,
};
use crate::{
    format,
    plot::{self, Axis, Room},
    stats::{Stats, Traffic, rate::SECONDS},
    time::Millis,
    words::Words,
};

/// The room of each plot.
const ROOM: Room = Room { width: 3000, height: 700 };
/// How much time is shown.
const SPAN: Millis = 60_000.0;
/// The most bars of the histogram.
const BARS: usize = 40;

pub(super) struct Measures {
    pub(super) root: El,
    sent: El,
    received: El,
    latest: El,
    quantiles: [El; 3],
    trips: Plot,
    spread: Plot,
    marks: [El; 3],
    sent_rate: El,
    received_rate: El,
    flow: Plot,
    nothing: El,
    plots: El,
    cells: Vec<El>,
    /// When the plots were last drawn, and for which connection.
    drawn: (Millis, u32),
}

/// A plot: its grid, its curve and what its axes say.
struct Plot {
    root: El,
    grid: El,
    curve: El,
    top: El,
    left: El,
    right: El,
}

const QUANTILES: [(&str, u64); 3] = [("p50", 500), ("p90", 900), ("p99", 990)];

/// Plots are drawn no more often than this.
const PAUSE: Millis = 150.0;

impl Measures {
    pub(super) fn new(words: &'static Words) -> Measures {
        let (root, _) = panel("measures", words.measurements);
        let figure = |id: &str| el("dd").id(id);
        let (sent, received, latest) =
            (figure("figure-sent"), figure("figure-received"), figure("figure-round-trip"));
        let counters = el("dl").class("figures").all([
            &text("dt", words.sent),
            &sent,
            &text("dt", words.received),
            &received,
            &text("dt", words.round_trip),
            &latest,
        ]);
        let quantiles = QUANTILES.map(|(name, _)| figure(name));
        let strip = el("dl").class("strip");
        for ((name, _), cell) in QUANTILES.iter().zip(&quantiles) {
            strip.append(&el("div").with(&text("dt", name)).with(cell));
        }
        let nothing = text("p", words.no_round_trips).class("details");
        let trips = Plot::new("trips", words.round_trips, words.last_minute);
        let spread = Plot::new("spread", words.distribution, "");
        let marks = QUANTILES.map(|(name, _)| svg("path").attr("class", &format!("mark {name}")));
        marks.iter().for_each(|mark| spread.curve_beside(mark));
        let flow = Plot::new("flow", words.throughput, words.throughput_unit);
        let (sent_rate, received_rate) =
            (el("span").class("rate sent"), el("span").class("rate received"));
        flow.root.append(&el("p").class("rates").with(&sent_rate).with(&received_rate));
        let names = [
            words.sent,
            words.received,
            words.replies,
            words.latest,
            words.mean,
            words.least,
            "p50",
            "p90",
            "p99",
            words.most,
        ];
        let cells: Vec<El> = names.iter().map(|_| el("td")).collect();
        let table = table(words, &names, &cells);
        let plots =
            el("div").class("plots").all([&strip, &trips.root, &spread.root, &flow.root, &table]);
        let root = root.all([&counters, &nothing, &plots]);
        Measures {
            root,
            sent,
            received,
            latest,
            quantiles,
            trips,
            spread,
            marks,
            sent_rate,
            received_rate,
            flow,
            nothing,
            plots,
            cells,
            drawn: (0.0, u32::MAX),
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let words = model.words;
        let wire = model.wire();
        let (stats, id) = (wire.session.stats(), wire.id);
        self.sent.set_text(&traffic(&stats.sent, words));
        self.received.set_text(&traffic(&stats.received, words));
        self.latest.set_text(&span(stats.round_trips.last()));
        if self.drawn.1 == id && now - self.drawn.0 < PAUSE {
            return;
        }
        self.drawn = (now, id);
        let any = stats.sent.messages + stats.received.messages > 0;
        self.nothing.show(!any);
        self.plots.show(any);
        if any {
            self.draw_trips(stats, now);
            self.draw_spread(stats);
            self.draw_flow(stats, now);
            self.draw_table(stats, words);
        }
    }

    fn draw_trips(&mut self, stats: &Stats, now: Millis) {
        let start = now - SPAN;
        let most = stats.latest.from(start).map(|(_, span)| span).fold(0.1, f64::max);
        let axis = Axis::holding(most);
        self.trips.frame(axis, &format::span(axis.end), "−60 s", "0");
        let points = plot::points(stats.latest.from(start), start, SPAN, axis, ROOM);
        self.trips.curve.set("d", &points);
    }

    fn draw_spread(&mut self, stats: &Stats) {
        let bars = stats.round_trips.bars(BARS);
        let ends = bars.first().zip(bars.last()).map(|(first, last)| (first.from, last.to));
        let said =
            ends.map(|(from, to)| (format::span(from), format::span(to))).unwrap_or_default();
        self.spread.left.set_text(&said.0);
        self.spread.right.set_text(&said.1);
        self.spread.curve.set("d", &plot::bars(&bars, ROOM));
        for (at, (_, per_mille)) in QUANTILES.iter().enumerate() {
            let value = stats.round_trips.quantile(*per_mille);
            self.quantiles[at].set_text(&span(value));
            let x = value.and_then(|value| plot::across(&bars, value, ROOM));
            let path = x.map(|x| format!("M{x} 0V{}", ROOM.height)).unwrap_or_default();
            self.marks[at].set("d", &path);
        }
    }

    fn draw_flow(&mut self, stats: &Stats, now: Millis) {
        let both: Vec<f64> = stats
            .sent
            .rate
            .seconds(now)
            .zip(stats.received.rate.seconds(now))
            .map(|(sent, received)| (sent.bytes + received.bytes) as f64)
            .collect();
        // The second that is not over would look like a fall.
        let full = &both[..SECONDS - 1];
        let axis = Axis::holding(full.iter().copied().fold(10.0, f64::max));
        self.flow.frame(axis, &format::size(axis.end as u64), "−60 s", "0");
        self.flow.curve.set("d", &plot::area(full.iter().copied(), axis, ROOM));
        for (cell, arrow, traffic) in [
            (&mut self.sent_rate, "↑", &stats.sent),
            (&mut self.received_rate, "↓", &stats.received),
        ] {
            let second = traffic.rate.last(now);
            let (bytes, messages) =
                (format::size(second.bytes), format::grouped(second.messages.into()));
            cell.set_text(&format!("{arrow} {bytes}/s · {messages}/s"));
        }
    }

    fn draw_table(&mut self, stats: &Stats, words: &Words) {
        let trips = &stats.round_trips;
        let [p50, p90, p99] = QUANTILES.map(|(_, per_mille)| span(trips.quantile(per_mille)));
        let values = [
            traffic(&stats.sent, words),
            traffic(&stats.received, words),
            format::grouped(trips.count()),
            span(trips.last()),
            span(trips.mean()),
            span(trips.least()),
            p50,
            p90,
            p99,
            span(trips.most()),
        ];
        for (cell, value) in self.cells.iter_mut().zip(&values) {
            cell.set_text(value);
        }
    }
}

impl Plot {
    fn new(id: &str, title: &str, about: &str) -> Plot {
        let (grid, curve) = (svg("path").attr("class", "grid"), svg("path").attr("class", "curve"));
        let view = format!("0 0 {} {}", ROOM.width, ROOM.height);
        // Those who cannot see it have the table.
        let canvas = svg("svg").attr("viewBox", &view).attr("preserveAspectRatio", "none");
        let canvas = canvas.attr("aria-hidden", "true").with(&grid).with(&curve);
        let label = |class: &str| el("span").class(class);
        let (top, left, right) = (label("axis top"), label("axis left"), label("axis right"));
        let caption = text("figcaption", title).plain(" ").with(&text("small", about));
        let field = el("div")
            .class("canvas")
            .attr("aria-hidden", "true")
            .all([&canvas, &top, &left, &right]);
        let root = el("figure").class("plot").id(id).with(&caption).with(&field);
        Plot { root, grid, curve, top, left, right }
    }

    fn curve_beside(&self, other: &El) {
        self.curve.node.after_with_node_1(&other.node).ok();
    }

    fn frame(&mut self, axis: Axis, top: &str, left: &str, right: &str) {
        let lines: String = axis
            .marks()
            .map(|mark| format!("M0 {}H{}", axis.down(mark, ROOM), ROOM.width))
            .collect();
        self.grid.set("d", &lines);
        self.top.set_text(top);
        self.left.set_text(left);
        self.right.set_text(right);
    }
}

fn table(words: &Words, names: &[&str], cells: &[El]) -> El {
    let body = el("tbody");
    for (name, cell) in names.iter().zip(cells) {
        let row = el("tr").with(&text("th", name).attr("scope", "row")).with(cell);
        body.append(&row);
    }
    let head = |said: &str| text("th", said).attr("scope", "col");
    let head = el("thead").with(&el("tr").with(&head(words.measure)).with(&head(words.value)));
    let table = el("table").id("measures-table").with(&head).with(&body);
    el("details").with(&text("summary", words.as_table)).with(&table)
}

fn traffic(traffic: &Traffic, words: &Words) -> String {
    format!("{} · {}", words.messages(traffic.messages), format::size(traffic.bytes))
}

fn span(millis: Option<Millis>) -> String {
    millis.map_or_else(|| "–".to_owned(), format::span)
}
