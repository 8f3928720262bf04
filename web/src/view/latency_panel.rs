//! The latency panel: the legs of a round trip and their times; it lights up as messages pass.

use super::{
    dom::{El, el, panel, text},
    model::Model,
};
use crate::{format, i18n::Texts, latency_path::LatencyPath, redraw::Throttle, time::Millis};

/// The time for which the path is lit.
const LIT: Millis = 600.0;

pub(super) struct LatencyPanel {
    pub(super) root: El,
    steps: El,
    times: [El; 4],
    bar: [El; 4],
    hint: El,
    share: El,
    /// The connection and the number of its messages when the path was lit last.
    seen: (u32, u64),
    light: Throttle,
    alternate: bool,
}

impl LatencyPanel {
    pub(super) fn new(texts: &'static Texts) -> LatencyPanel {
        let (root, _) = panel("latency", texts.latency);
        let times = ["page", "gateway", "upstream", "service"]
            .map(|part| el("span").class("leg-time").id(&format!("latency-{part}")));
        let steps = el("ol").class("latency-path");
        let stop = |class: &str, name: &str| {
            el("li").class(class).child(&text("span", name).class("stop"))
        };
        let leg = |name: &str, about: &str, took: &El| {
            let name = text("span", name).class("leg-name").attr("title", about);
            el("li").class("leg").child(&name).child(took)
        };
        steps.append(&stop("at-page", texts.latency_page));
        steps.append(&leg(texts.latency_ws, texts.latency_network, &times[0]));
        steps.append(&stop("at-gateway", texts.latency_gateway).child(&times[1]));
        steps.append(&leg(texts.latency_tcp, texts.latency_upstream, &times[2]));
        steps.append(&stop("at-service", texts.latency_service).child(&times[3]));
        let bar = ["page", "gateway", "upstream", "service"].map(|part| el("span").class(part));
        let share = el("div").class("share").attr("aria-hidden", "true").children(&bar);
        let hint = text("p", texts.latency_none).class("details");
        let root = root.child(&steps).child(&share).child(&hint);
        LatencyPanel {
            root,
            steps,
            times,
            bar,
            hint,
            share,
            seen: (u32::MAX, 0),
            light: Throttle::new(LIT),
            alternate: false,
        }
    }

    /// Draws; returns when messages that passed in the meantime light the path again.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let label = model.connection().label.clone();
        let ours = model.live.with_label(&label);
        let upstream = ours.and_then(|row| model.live.upstream_of(row));
        let bridge_legs = ours.and_then(|row| row.connection.carried.legs);
        let service_legs = upstream.and_then(|row| row.connection.carried.legs);
        let connection = model.connection();
        let round_trip = connection.session.stats().round_trips.last();
        let path = LatencyPath::new(round_trip, bridge_legs, service_legs);
        for (cell, leg) in self.times.iter_mut().zip(path.legs()) {
            cell.set_text(&leg.map(format::micros).unwrap_or_default());
        }
        for (part, share) in self.bar.iter_mut().zip(path.shares()) {
            part.style("flex-grow", &share.to_string());
        }
        let known = path.legs().iter().any(Option::is_some);
        self.share.show(known);
        self.hint.show(!known);

        if self.seen.0 != connection.id {
            self.seen = (connection.id, connection.messages);
        }
        if connection.messages == self.seen.1 {
            return None;
        }
        if let Err(at) = self.light.pass(now) {
            return Some(at);
        }
        // Two names of one animation, so that it starts anew.
        self.alternate = !self.alternate;
        self.seen.1 = connection.messages;
        self.steps.set("data-lit", if self.alternate { "a" } else { "b" });
        None
    }
}
