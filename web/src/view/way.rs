//! The picture of a byte's way, which lights up as a message passes.

use super::{
    dom::{El, el, text},
    model::Model,
    screen::panel,
};
use crate::{format, time::Millis, way::Way, words::Words};

/// How long the way stays lit.
const LIT: Millis = 600.0;

pub(super) struct WayPanel {
    pub(super) root: El,
    steps: El,
    times: [El; 4],
    bar: [El; 4],
    hint: El,
    share: El,
    /// The messages that have lit it, of which connection, and since when it is lit.
    seen: (u32, u64),
    lit: Option<Millis>,
    beat: bool,
}

impl WayPanel {
    pub(super) fn new(words: &'static Words) -> WayPanel {
        let (root, _) = panel("way", words.way);
        let times = ["page", "gateway", "upstream", "service"]
            .map(|part| el("span").class("took").id(&format!("took-{part}")));
        let steps = el("ol").class("way");
        let stop =
            |class: &str, said: &str| el("li").class(class).with(&text("span", said).class("stop"));
        let leg = |said: &str, about: &str, took: &El| {
            let said = text("span", said).class("leg-name").attr("title", about);
            el("li").class("leg").with(&said).with(took)
        };
        steps.append(&stop("at-page", words.way_page));
        steps.append(&leg(words.way_ws, words.way_network, &times[0]));
        steps.append(&stop("at-gateway", words.way_gateway).with(&times[1]));
        steps.append(&leg(words.way_tcp, words.way_upstream, &times[2]));
        steps.append(&stop("at-service", words.way_service).with(&times[3]));
        let bar = ["page", "gateway", "upstream", "service"].map(|part| el("span").class(part));
        let share = el("div").class("share").attr("aria-hidden", "true").all(&bar);
        let hint = text("p", words.way_none).class("details");
        let root = root.with(&steps).with(&share).with(&hint);
        WayPanel {
            root,
            steps,
            times,
            bar,
            hint,
            share,
            seen: (u32::MAX, 0),
            lit: None,
            beat: false,
        }
    }

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let label = model.wire().label.clone();
        let ours = model.live.labelled(&label);
        let behind = ours.and_then(|guest| model.live.behind(guest));
        let bridge = ours.and_then(|guest| guest.connection.carried.legs);
        let service = behind.and_then(|guest| guest.connection.carried.legs);
        let wire = model.wire();
        let way = Way::new(wire.session.stats().round_trips.last(), bridge, service);
        for (cell, part) in self.times.iter_mut().zip(way.parts()) {
            cell.set_text(&part.map(format::micros).unwrap_or_default());
        }
        for (part, share) in self.bar.iter_mut().zip(way.shares()) {
            part.style("flex-grow", &share.to_string());
        }
        let known = way.parts().iter().any(Option::is_some);
        self.share.show(known);
        self.hint.show(!known);

        if self.seen.0 != wire.id {
            self.seen = (wire.id, wire.passed);
        }
        let idle = self.lit.is_none_or(|since| now - since > LIT);
        if wire.passed > self.seen.1 && idle {
            // Two names for the same light, so that it begins anew.
            self.beat = !self.beat;
            self.lit = Some(now);
            self.seen.1 = wire.passed;
            self.steps.set("data-lit", if self.beat { "a" } else { "b" });
        }
    }
}
