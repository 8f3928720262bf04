//! Where messages are written.

use leptos::{ev, prelude::*};

use super::{browser, wire::Wire};
use crate::{
    composer::{self, Mode},
    format,
    payload::Payload,
    session::State,
};

/// The id of the field that messages are written in.
pub(super) const FIELD: &str = "message";

/// The composer: text or hex, checked as it is typed.
#[component]
pub(super) fn Composer(wire: Wire) -> impl IntoView {
    let draft = RwSignal::new(String::new());
    let mode = RwSignal::new(Mode::Text);
    let refusal = RwSignal::new(String::new());
    let payload = Memo::new(move |_| composer::payload(mode.get(), &draft.read()));
    let open = Memo::new(move |_| matches!(wire.state(), State::Open { .. }));

    let choose = move |to: Mode| {
        // Read before it is written: a signal cannot be both at once.
        let rewritten = composer::rewrite(&draft.read_untracked(), mode.get_untracked(), to);
        if let Some(text) = rewritten {
            draft.set(text);
        }
        mode.set(to);
    };
    let send = move || {
        let Ok(payload) = payload.get_untracked() else { return };
        match wire.send(payload) {
            Ok(()) => {
                draft.set(String::new());
                refusal.set(String::new());
            }
            Err(why) => refusal.set(why.to_string()),
        }
    };
    let key = move |event: ev::KeyboardEvent| {
        // Enter also ends the choice of a character in an input method: then it sends nothing.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            if !draft.read_untracked().is_empty() {
                send();
            }
        }
    };
    let unfinished =
        move || payload.get().is_err_and(|problem| composer::is_unfinished(&draft.read(), problem));
    let wrong = move || payload.read().is_err() && !unfinished();
    let problem = move || match payload.get() {
        Err(problem) => problem.to_string(),
        Ok(_) if !open.get() => refusal.get(),
        Ok(_) => String::new(),
    };
    let size = move || payload.get().map(|payload| describe(&payload)).unwrap_or_default();

    view! {
        <form
            class="composer"
            aria-label="Composer"
            on:submit=move |event| {
                event.prevent_default();
                send();
                browser::focus(FIELD);
            }
        >
            <fieldset class="modes">
                <legend class="unseen">"Send as"</legend>
                {[(Mode::Text, "mode-text", "Text"), (Mode::Hex, "mode-hex", "Hex")]
                    .map(|(this, id, label)| {
                        view! {
                            <input
                                id=id
                                type="radio"
                                name="mode"
                                prop:checked=move || mode.get() == this
                                on:change=move |_| choose(this)
                            />
                            <label for=id>{label}</label>
                        }
                    })}
            </fieldset>
            <p class="keys" aria-hidden="true">
                <kbd>"Enter"</kbd>" sends · "<kbd>"Shift"</kbd>" "<kbd>"Enter"</kbd>" new line"
            </p>
            <textarea
                id=FIELD
                rows="2"
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                class:hex=move || mode.get() == Mode::Hex
                placeholder=move || match mode.get() {
                    Mode::Text => "Type a message",
                    Mode::Hex => "Type bytes, as in 00 61 ff",
                }
                aria-label="Message"
                aria-describedby="composer-problem composer-size"
                aria-invalid=move || wrong().then_some("true")
                prop:value=draft
                on:input=move |event| draft.set(event_target_value(&event))
                on:keydown=key
            ></textarea>
            <button
                id="send"
                type="submit"
                class="primary"
                aria-disabled=move || (!open.get() || payload.read().is_err()).to_string()
            >
                "Send"
            </button>
            <p class="below">
                <span
                    id="composer-problem"
                    class=move || if unfinished() { "" } else { "problem" }
                    aria-live="polite"
                >
                    {problem}
                </span>
                <span id="composer-size">{size}</span>
            </p>
        </form>
    }
}

fn describe(payload: &Payload) -> String {
    match payload.len() {
        0 => format!("empty {} message", payload.kind()),
        bytes => format!("{}, {}", format::counted(bytes as u64, "byte"), payload.kind()),
    }
}
