//! What happened, a row each.

use std::collections::BTreeSet;

use leptos::prelude::*;

use super::{browser, detail::Detail, wire::Wire};
use crate::{
    format,
    payload::Payload,
    transcript::{Entry, What},
};

/// The most characters or bytes of a message in its row.
const PREVIEW: usize = 160;

/// The transcript. It stays at its end while it grows, unless somebody has scrolled away.
#[component]
pub(super) fn Transcript(wire: Wire) -> impl IntoView {
    let opened = RwSignal::new(BTreeSet::new());
    let rows =
        move || wire.read(|session| session.transcript().rows().cloned().collect::<Vec<_>>());
    let count = Memo::new(move |_| wire.read(|session| session.transcript().rows().len()));
    let dropped = Memo::new(move |_| wire.read(|session| session.transcript().dropped()));
    view! {
        <section class="panel transcript" aria-labelledby="transcript-title">
            <header>
                <h2 id="transcript-title">"Transcript"</h2>
                <button
                    id="clear"
                    type="button"
                    class="quiet"
                    hidden=move || count.get() == 0
                    on:click=move |_| {
                        wire.clear_transcript();
                        opened.write().clear();
                    }
                >
                    "Clear"
                </button>
            </header>
            <div class="columns" aria-hidden="true" hidden=move || count.get() == 0>
                <span>"Time"</span>
                <span>"Sent"</span>
                <span>"Received"</span>
                <span>"Type"</span>
                <span>"Size"</span>
                <span>"Round trip"</span>
            </div>
            <div id="transcript" tabindex="0" role="region" aria-label="Messages">
                <Empty hidden=Signal::derive(move || count.get() > 0) />
                <ol class="rows">
                    <li id="dropped" hidden=move || dropped.read().rows == 0>
                        {move || {
                            let dropped = dropped.get();
                            format!(
                                "{} with {} of messages left the transcript: it keeps the latest.",
                                format::counted(dropped.rows, "older row"),
                                format::size(dropped.bytes),
                            )
                        }}
                    </li>
                    // A message that is answered is drawn anew, hence the second half of the key.
                    <For each=rows key=|row| (row.id, row.what.stage()) let:row>
                        <Row row opened />
                    </For>
                </ol>
            </div>
        </section>
    }
}

/// What there is to see before anything has happened: the way of a byte.
#[component]
fn Empty(hidden: Signal<bool>) -> impl IntoView {
    view! {
        <div class="empty" hidden=hidden>
            <p class="way">
                <span class="stop">"this page"</span>
                <span class="leg">"WebSocket"</span>
                <span class="stop">"gateway"</span>
                <span class="leg">"TCP"</span>
                <span class="stop">"service"</span>
            </p>
            <p>
                "Connect and send " <code>"hello"</code> ". The gateway hands the bytes to a TCP \
                 service, which answers in upper case: " <code>"HELLO"</code> "."
            </p>
        </div>
    }
}

#[component]
fn Row(row: Entry, opened: RwSignal<BTreeSet<u64>>) -> impl IntoView {
    let time = format::clock(row.at, browser::minutes_ahead(row.at));
    match row.what {
        What::Opened { url, protocol } => {
            let agreed = match &*protocol {
                "" => String::new(),
                protocol => format!(", subprotocol {protocol}"),
            };
            let sentence = format!("Connected to {url}{agreed}");
            view! { <Note time sentence calm=true /> }.into_any()
        }
        What::Ended(ending) => {
            let (sentence, calm) = (ending.sentences(), ending.is_calm());
            view! { <Note time sentence calm /> }.into_any()
        }
        what => view! { <Message id=row.id time what opened /> }.into_any(),
    }
}

#[component]
fn Note(time: String, sentence: String, calm: bool) -> impl IntoView {
    view! {
        <li class="note" data-calm=calm.to_string()>
            <time>{time}</time>
            <span>{sentence}</span>
        </li>
    }
}

#[component]
fn Message(id: u64, time: String, what: What, opened: RwSignal<BTreeSet<u64>>) -> impl IntoView {
    let is_open = Memo::new(move |_| opened.read().contains(&id));
    let toggle = move |_| {
        let mut opened = opened.write();
        if !opened.remove(&id) {
            opened.insert(id);
        }
    };
    let any = what.sent().or(what.received());
    let kind = any.map(Payload::kind);
    let size = any.map(|payload| format::size(payload.len() as u64));
    let round_trip = what.round_trip().map(format::span);
    let received = match what.remark() {
        Some(remark) => view! { <i class="remark">{remark}</i> }.into_any(),
        None => what.received().map(|payload| shown(payload, "Received")).into_any(),
    };
    let sent = what.sent().map(|payload| shown(payload, "Sent"));
    view! {
        <li class="message">
            <button
                type="button"
                class="line"
                aria-expanded=move || is_open.get().to_string()
                on:click=toggle
            >
                <time>{time}</time>
                <span class="sent">{sent}</span>
                <span class="received">{received}</span>
                <span class="kind">{kind}</span>
                <span class="size">{size}</span>
                <span class="round-trip">{round_trip}</span>
            </button>
            {move || is_open.get().then(|| view! { <Detail what=what.clone() /> })}
        </li>
    }
}

/// A message in its row; `direction` for those who cannot see the column.
fn shown(payload: &Payload, direction: &'static str) -> impl IntoView + use<> {
    let class = if payload.is_empty() { "remark" } else { payload.kind() };
    let text =
        if payload.is_empty() { "(empty)".to_owned() } else { format::preview(payload, PREVIEW) };
    view! {
        <span class="unseen">{direction}": "</span>
        <bdi class=class>{text}</bdi>
    }
}
