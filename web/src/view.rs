//! The page as it is drawn: thin, over [`crate::session`] and its neighbours.
//!
//! - [`wire`]: a session with its socket, redrawn at most once a frame; over [`socket`] and
//!   [`browser`], which are all that talks to the browser itself
//! - [`connection`], [`figures`], [`transcript`], [`detail`], [`composer`]: what one sees

#![allow(unreachable_pub, reason = "what the component macro writes is `pub`")]

mod browser;
mod composer;
mod connection;
mod detail;
mod figures;
mod socket;
mod transcript;
mod wire;

use leptos::{mount::mount_to, prelude::*};
use wasm_bindgen::prelude::wasm_bindgen;

use self::{
    composer::Composer, connection::Connection, figures::Figures, transcript::Transcript,
    wire::Wire,
};

/// Draws the page in place of the notice that it is being loaded.
#[wasm_bindgen(start)]
fn start() {
    // A bug here should be as loud as one in JavaScript.
    std::panic::set_hook(Box::new(|panic| browser::log_error(&panic.to_string())));
    if let Some(place) = browser::element("page") {
        place.set_text_content(None);
        // The page stays until the browser leaves it.
        mount_to(place, Page).forget();
    }
}

#[component]
fn Page() -> impl IntoView {
    let wire = Wire::new();
    view! {
        <div class="side">
            <Connection wire />
            <Figures wire />
        </div>
        <div class="talk">
            <Transcript wire />
            <Composer wire />
        </div>
        <p id="announcer" class="unseen" role="status">{move || wire.announcement()}</p>
    }
}
