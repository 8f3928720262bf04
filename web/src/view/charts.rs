//! The measurements of the chosen connection: counters, and plots with a table for screen readers.

use super::{
    dom::{El, el, panel, svg, text},
    model::Model,
    socket,
};
use crate::{
    format,
    i18n::{Texts, fill},
    plot::{self, Axis, PlotSize},
    redraw::{Throttle, next_second},
    stats::{DirectionStats, Histogram, Series, Stats, rate::SECONDS},
    time::Millis,
};

/// The size of each plot.
const SIZE: PlotSize = PlotSize { width: 3000, height: 700 };
/// The most bars of the histogram.
const BARS: usize = 40;

pub(super) struct Charts {
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
    /// The connection whose plots are drawn.
    of: u32,
    throttle: Throttle,
}

/// A plot: its grid, its curve and the labels of its axes.
struct Plot {
    root: El,
    about: El,
    grid: El,
    curve: El,
    top: El,
    left: El,
    right: El,
}

const QUANTILES: [(&str, u64); 3] = [("p50", 500), ("p90", 900), ("p99", 990)];

/// The rows of the table before those of round trips.
const TRAFFIC_ROWS: usize = 2;

/// The shortest interval between two drawings of the plots.
const PLOT_INTERVAL: Millis = 150.0;

impl Charts {
    pub(super) fn new(texts: &'static Texts) -> Charts {
        let (root, _) = panel("charts", texts.measurements);
        let figure = |id: &str| el("dd").id(id);
        let (sent, received, latest) =
            (figure("figure-sent"), figure("figure-received"), figure("figure-round-trip"));
        let latest = latest.class("of-trips");
        let counters = counters(texts, [&sent, &received, &latest]);
        let quantiles = QUANTILES.map(|(name, _)| figure(name));
        let strip = strip(&quantiles);
        let nothing = text("p", texts.no_round_trips).class("details");
        let trips = Plot::new("trips", texts.round_trips, texts.last_minute);
        let spread = Plot::new("spread", texts.distribution, "");
        let marks = QUANTILES.map(|(name, _)| svg("path").attr("class", &format!("mark {name}")));
        marks.iter().for_each(|mark| spread.curve_beside(mark));
        let flow = Plot::new("flow", texts.throughput, texts.throughput_unit);
        let (sent_rate, received_rate) =
            (el("span").class("rate sent"), el("span").class("rate received"));
        flow.root.append(&el("p").class("rates").child(&sent_rate).child(&received_rate));
        let names = [
            texts.sent,
            texts.received,
            texts.replies,
            texts.latest,
            texts.mean,
            texts.least,
            "p50",
            "p90",
            "p99",
            texts.most,
        ];
        let cells: Vec<El> = names.iter().map(|_| el("td")).collect();
        let table = table(texts, &names, &cells);
        let plots = el("div").class("plots").children([
            &strip,
            &trips.root,
            &spread.root,
            &flow.root,
            &table,
        ]);
        let root = root.children([&counters, &nothing, &plots]);
        Charts {
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
            of: u32::MAX,
            throttle: Throttle::new(PLOT_INTERVAL),
        }
    }

    /// Draws; returns the time at which the plots have to be drawn again.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let texts = model.texts;
        let connection = model.connection();
        let (stats, id) = (connection.session.stats(), connection.id);
        let (end, is_read_only) = (connection.measured_until(now), connection.is_read_only());
        self.sent.set_text(&traffic(&stats.sent, texts));
        self.received.set_text(&traffic(&stats.received, texts));
        self.latest.set_text(&span(stats.round_trips.last()));
        if std::mem::replace(&mut self.of, id) != id {
            self.throttle.reset();
        }
        let has_trips = stats.round_trips.count() > 0;
        // Messages of followed clients and of files are paired only by a rule that the user chooses.
        self.root.set_flag("data-trips", has_trips || !is_read_only);
        let any = stats.sent.messages + stats.received.messages > 0;
        self.nothing.show(!any && !is_read_only);
        self.plots.show(any);
        for (cell, (_, per_mille)) in self.quantiles.iter_mut().zip(QUANTILES) {
            cell.set_text(&quantile(&stats.round_trips, per_mille));
        }
        self.trips.root.show(has_trips);
        self.spread.root.show(has_trips);
        if any {
            if let Err(at) = self.throttle.pass(now) {
                return Some(at);
            }
            self.draw_trips(stats, end);
            self.draw_spread(stats, texts);
            self.draw_flow(stats, end);
            self.draw_table(stats, texts);
        }
        any.then(|| next_second(now))
    }

    fn draw_trips(&mut self, stats: &Stats, now: Millis) {
        let start = now - Series::SPAN;
        let highest = stats.recent.since(start).map(|range| range.most);
        let axis = Axis::holding(highest.fold(socket::clock_resolution(), f64::max));
        self.trips.frame(axis, &socket::measured(axis.end), "−60 s", "0");
        let ranges = stats.recent.since(start);
        self.trips.curve.set("d", &plot::ranges(ranges, start, Series::SPAN, axis, SIZE));
    }

    fn draw_spread(&mut self, stats: &Stats, texts: &Texts) {
        let bars = stats.round_trips.bars(BARS);
        let ends = bars.first().zip(bars.last()).map(|(first, last)| (first.from, last.to));
        let labels = ends.map(|(from, to)| (socket::measured(from), socket::measured(to)));
        let labels = labels.unwrap_or_default();
        let count = stats.round_trips.count();
        let replies = texts.counted(count, texts.one_reply, texts.many_replies);
        let overlapping = format::grouped(stats.overlapping);
        self.spread.about.set_text(&match stats.overlapping {
            0 => fill(texts.distribution_about, &[&replies]),
            _ => fill(texts.distribution_overlaps, &[&replies, &overlapping]),
        });
        self.spread.about.set_if("title", texts.overlaps_about, stats.overlapping > 0);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
        self.spread.top.set_text(&format::grouped(most));
        self.spread.left.set_text(&labels.0);
        self.spread.right.set_text(&fill(texts.log_scale, &[&labels.1]));
        self.spread.curve.set("d", &plot::bars(&bars, SIZE));
        for (at, (_, per_mille)) in QUANTILES.iter().enumerate() {
            let value = stats.round_trips.quantile(*per_mille);
            let x = value.and_then(|value| plot::x_of(&bars, value, SIZE));
            let path = x.map(|x| format!("M{x} 0V{}", SIZE.height)).unwrap_or_default();
            self.marks[at].set("d", &path);
        }
    }

    fn draw_flow(&mut self, stats: &Stats, now: Millis) {
        let both: Vec<u64> = stats
            .sent
            .rate
            .seconds(now)
            .zip(stats.received.rate.seconds(now))
            .map(|(sent, received)| sent.bytes + received.bytes)
            .collect();
        // The current second is incomplete and would look like a drop.
        let full = &both[..SECONDS - 1];
        let axis = Axis::holding_bytes(full.iter().copied().fold(10, u64::max));
        self.flow.frame(axis, &format::size(axis.end as u64), "−60 s", "0");
        self.flow.curve.set("d", &plot::area(full.iter().map(|bytes| *bytes as f64), axis, SIZE));
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

    fn draw_table(&mut self, stats: &Stats, texts: &Texts) {
        let trips = &stats.round_trips;
        let [p50, p90, p99] = QUANTILES.map(|(_, per_mille)| quantile(trips, per_mille));
        let values = [
            traffic(&stats.sent, texts),
            traffic(&stats.received, texts),
            format::grouped(trips.count()),
            span(trips.last()),
            span(trips.mean()),
            span(trips.min()),
            p50,
            p90,
            p99,
            span(trips.max()),
        ];
        for (cell, value) in self.cells.iter_mut().zip(&values) {
            cell.set_text(value);
        }
    }
}

impl Plot {
    fn new(id: &str, title: &str, about: &str) -> Plot {
        let (grid, curve) = (svg("path").attr("class", "grid"), svg("path").attr("class", "curve"));
        let view = format!("0 0 {} {}", SIZE.width, SIZE.height);
        // Screen readers get the table.
        let canvas = svg("svg").attr("viewBox", &view).attr("preserveAspectRatio", "none");
        let canvas = canvas.attr("aria-hidden", "true").child(&grid).child(&curve);
        let label = |class: &str| el("span").class(class);
        let (top, left, right) = (label("axis top"), label("axis left"), label("axis right"));
        let about = text("small", about);
        let caption = text("figcaption", title).plain_text(" ").child(&about);
        let field = el("div")
            .class("canvas")
            .attr("aria-hidden", "true")
            .children([&canvas, &top, &left, &right]);
        let root = el("figure").class("plot").id(id).child(&caption).child(&field);
        Plot { root, about, grid, curve, top, left, right }
    }

    fn curve_beside(&self, other: &El) {
        self.curve.node.after_with_node_1(&other.node).ok();
    }

    fn frame(&mut self, axis: Axis, top: &str, left: &str, right: &str) {
        let lines: String =
            axis.marks().map(|mark| format!("M0 {}H{}", axis.y(mark, SIZE), SIZE.width)).collect();
        self.grid.set("d", &lines);
        self.top.set_text(top);
        self.left.set_text(left);
        self.right.set_text(right);
    }
}

fn counters(texts: &Texts, [sent, received, latest]: [&El; 3]) -> El {
    el("dl").class("figures").children([
        &text("dt", texts.sent),
        sent,
        &text("dt", texts.received),
        received,
        &text("dt", texts.round_trip).class("of-trips"),
        latest,
    ])
}

/// The quantiles side by side.
fn strip(quantiles: &[El; 3]) -> El {
    let strip = el("dl").class("strip of-trips");
    for ((name, _), cell) in QUANTILES.iter().zip(quantiles) {
        strip.append(&el("div").child(&text("dt", name)).child(cell));
    }
    strip
}

fn table(texts: &Texts, names: &[&str], cells: &[El]) -> El {
    let body = el("tbody");
    for (at, (name, cell)) in names.iter().zip(cells).enumerate() {
        let row = el("tr").class(if at < TRAFFIC_ROWS { "" } else { "of-trips" });
        let row = row.child(&text("th", name).attr("scope", "row")).child(cell);
        body.append(&row);
    }
    let head = |title: &str| text("th", title).attr("scope", "col");
    let head = el("thead").child(&el("tr").child(&head(texts.measure)).child(&head(texts.value)));
    let table = el("table").id("charts-table").child(&head).child(&body);
    el("details").child(&text("summary", texts.as_table)).child(&table)
}

fn traffic(traffic: &DirectionStats, texts: &Texts) -> String {
    format!("{} · {}", texts.messages(traffic.messages), format::size(traffic.bytes))
}

/// A quantile, with a sign if it is an estimate.
fn quantile(trips: &Histogram, per_mille: u64) -> String {
    let value = span(trips.quantile(per_mille));
    if trips.is_exact() { value } else { format!("≈ {value}") }
}

fn span(millis: Option<Millis>) -> String {
    millis.map_or_else(|| "–".to_owned(), socket::measured)
}
