//! An opened row: both messages in full, byte by byte, with what changed marked.

use leptos::prelude::*;

use crate::{
    dump::{self, Run},
    format,
    payload::Payload,
    transcript::What,
};

/// The most bytes of a message in a dump.
const DUMPED: usize = 2048;
/// The most characters of a message written out.
const WRITTEN: usize = 20_000;

/// What is below a row that was opened.
#[component]
pub(super) fn Detail(what: What) -> impl IntoView {
    let (sent, received) = (what.sent().cloned(), what.received().cloned());
    let summary = sent.as_ref().zip(received.as_ref()).map(|(sent, received)| {
        let changed = dump::differences(sent.bytes(), received.bytes());
        match changed {
            0 => "The reply is the same, byte for byte.".to_owned(),
            n => format!(
                "{} of {} changed on the way.",
                format::grouped(n as u64),
                format::counted(sent.len().max(received.len()) as u64, "byte"),
            ),
        }
    });
    view! {
        <div class="detail">
            {summary.map(|sentence| view! { <p class="summary">{sentence}</p> })}
            <div class="both">
                {sent
                    .as_ref()
                    .map(|payload| {
                        let other = received.clone();
                        view! { <Side title="Sent" payload=payload.clone() other /> }
                    })}
                {received
                    .map(|payload| view! { <Side title="Received" payload other=sent.clone() /> })}
            </div>
        </div>
    }
}

/// One message: written out if it is text with more in it than its row shows, and as a dump.
#[component]
fn Side(title: &'static str, payload: Payload, other: Option<Payload>) -> impl IntoView {
    let bytes = payload.bytes();
    let cut = (bytes.len() > DUMPED).then(|| {
        let (shown, all) = (format::grouped(DUMPED as u64), format::grouped(bytes.len() as u64));
        view! { <p class="details">{format!("The first {shown} of {all} bytes.")}</p> }
    });
    let lines = dump::lines(bytes, other.as_ref().map(Payload::bytes), DUMPED)
        .into_iter()
        .map(|line| {
            view! {
                <span class="offset">{format!("{:04x}  ", line.offset)}</span>
                {runs(line.digits, " ")}
                {line.padding}
                "  "
                <span class="ascii">{runs(line.ascii, "")}</span>
                "\n"
            }
        })
        .collect_view();
    view! {
        <figure>
            <figcaption>{title}</figcaption>
            {written_out(&payload)}
            <pre class="dump">{lines}</pre>
            {cut}
        </figure>
    }
}

fn written_out(payload: &Payload) -> Option<impl IntoView + use<>> {
    let Payload::Text(text) = payload else { return None };
    let long = text.contains('\n') || text.chars().count() > 40;
    let text: String = text.chars().take(WRITTEN).collect();
    long.then(|| view! { <pre class="text" dir="auto">{text}</pre> })
}

fn runs(runs: Vec<Run>, between: &'static str) -> impl IntoView {
    runs.into_iter()
        .enumerate()
        .map(|(i, run)| {
            let before = if i == 0 { "" } else { between };
            match run.changed {
                true => view! { {before} <mark>{run.text}</mark> }.into_any(),
                false => format!("{before}{}", run.text).into_any(),
            }
        })
        .collect_view()
}
