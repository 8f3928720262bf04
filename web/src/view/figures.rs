//! The counters of the connection.

use leptos::prelude::*;

use super::wire::Wire;
use crate::{format, stats::Traffic, time::Millis};

/// The panel of the figures.
#[component]
pub(super) fn Figures(wire: Wire) -> impl IntoView {
    let stats = Memo::new(move |_| wire.read(|session| session.stats().clone()));
    let waiting = Memo::new(move |_| wire.read(|session| session.queued() as u64));
    view! {
        <section class="panel" aria-labelledby="figures-title">
            <h2 id="figures-title">"This connection"</h2>
            <dl class="figures">
                <dt>"Sent"</dt>
                <dd id="figure-sent">{move || traffic(stats.read().sent)}</dd>
                <dt>"Received"</dt>
                <dd id="figure-received">{move || traffic(stats.read().received)}</dd>
                <dt>"Round trip"</dt>
                <dd>
                    <strong id="figure-round-trip">
                        {move || span(stats.read().round_trips.last())}
                    </strong>
                </dd>
                <dt>"mean"</dt>
                <dd>{move || span(stats.read().round_trips.mean())}</dd>
                <dt>"least – most"</dt>
                <dd>
                    {move || {
                        let round_trips = &stats.read().round_trips;
                        match round_trips.least().zip(round_trips.most()) {
                            Some((least, most)) => {
                                format!("{} – {}", format::span(least), format::span(most))
                            }
                            None => span(None),
                        }
                    }}
                </dd>
            </dl>
            <p class="details" hidden=move || waiting.get() == 0>
                {move || format!("{} waiting to be sent", format::counted(waiting.get(), "message"))}
            </p>
        </section>
    }
}

fn traffic(traffic: Traffic) -> String {
    format!("{} · {}", format::counted(traffic.messages, "message"), format::size(traffic.bytes))
}

fn span(millis: Option<Millis>) -> String {
    millis.map_or_else(|| "–".to_owned(), format::span)
}
