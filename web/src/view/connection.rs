//! Where to connect, the button that does it, and how things stand.

use leptos::{ev::SubmitEvent, prelude::*};

use super::{browser, composer, wire::Wire};
use crate::{place, session::State};

/// The panel of the connection.
#[component]
pub(super) fn Connection(wire: Wire) -> impl IntoView {
    let start = browser::start();
    let endpoint = RwSignal::new(start.endpoint);
    let protocol = RwSignal::new(start.protocol);
    let problem = RwSignal::new(String::new());
    let state = Memo::new(move |_| wire.state());
    let busy = move || !matches!(state.get(), State::Idle | State::Closed(_));

    let connect = move || {
        let wanted = browser::place().endpoint(&endpoint.read_untracked());
        problem.set(wanted.clone().err().unwrap_or_default());
        match wanted {
            Ok(url) => wire.connect(url, place::protocols(&protocol.read_untracked())),
            Err(_) => browser::focus("endpoint"),
        }
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        if state.with_untracked(|state| matches!(state, State::Idle | State::Closed(_))) {
            connect();
        } else {
            wire.disconnect();
        }
    };
    // Who has just connected wants to write next.
    Effect::new(move || {
        let opened = matches!(state.get(), State::Open { .. });
        if opened && ["toggle", "endpoint", "protocol"].into_iter().any(browser::has_focus) {
            browser::focus(composer::FIELD);
        }
    });
    if start.autoconnect {
        connect();
    }

    view! {
        <section class="panel" aria-labelledby="connection-title">
            <h2 id="connection-title">"Connection"</h2>
            <form id="connection" on:submit=submit>
                <label for="endpoint">"Endpoint"</label>
                <input
                    id="endpoint"
                    type="text"
                    inputmode="url"
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    prop:value=endpoint
                    readonly=busy
                    aria-invalid=move || (!problem.read().is_empty()).then_some("true")
                    aria-describedby="endpoint-problem"
                    on:input=move |event| endpoint.set(event_target_value(&event))
                />
                <p id="endpoint-problem" class="problem" role="alert">{problem}</p>
                <label for="protocol">"Subprotocols " <small>"optional"</small></label>
                <input
                    id="protocol"
                    type="text"
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    placeholder="none"
                    prop:value=protocol
                    readonly=busy
                    on:input=move |event| protocol.set(event_target_value(&event))
                />
                <button id="toggle" type="submit" class:primary=move || !busy()>
                    {move || action(&state.read())}
                </button>
            </form>
            <div
                id="state"
                data-state=move || state.read().name()
                data-calm=move || is_calm(&state.read()).to_string()
            >
                <p class="headline">
                    <span class="lamp" aria-hidden="true"></span>
                    <strong id="state-headline">{move || state.read().headline()}</strong>
                </p>
                <p id="state-details" class="details">{move || details(wire, &state.read())}</p>
            </div>
        </section>
    }
}

/// What the button does in this state.
fn action(state: &State) -> &'static str {
    match state {
        State::Idle => "Connect",
        State::Closed(_) => "Connect again",
        State::Connecting => "Call off",
        State::Open { .. } => "Disconnect",
        State::Closing => "Closing…",
    }
}

fn is_calm(state: &State) -> bool {
    !matches!(state, State::Closed(ending) if !ending.is_calm())
}

fn details(wire: Wire, state: &State) -> String {
    let url = wire.read(|session| session.url().to_owned());
    match state {
        State::Idle => "Press Connect, then send something.".to_owned(),
        State::Connecting => format!("to {url}"),
        State::Open { protocol } if protocol.is_empty() => format!("to {url}"),
        State::Open { protocol } => format!("to {url}, subprotocol {protocol}"),
        State::Closing => "waiting for the server’s goodbye".to_owned(),
        State::Closed(ending) => ending.sentences(),
    }
}
