//! The page as it is drawn: thin, over [`crate::session`] and its neighbours.
//!
//! - [`app`]: all that there is on the page: its [`model`], drawn at most once a frame on its
//!   [`screen`]; over [`wire`], a session with its socket and other [`parts`], and [`act`], what
//!   somebody did
//! - [`masthead`]; [`connections`] and their [`form`]; [`transcript`], its [`row`]s, how one goes
//!   about [`reading`] it, and [`detail`]; [`composer`], its [`keys`] and [`file`]; [`way`],
//!   [`measures`] and [`who`]; [`operator`]: what one sees; each makes its elements once, draws
//!   what has changed, and says what its buttons and fields do
//! - [`dom`], [`browser`], [`socket`]: all that talks to the browser itself

mod act;
mod app;
mod browser;
mod composer;
mod connections;
mod detail;
mod dom;
mod file;
mod form;
mod keys;
mod masthead;
mod measures;
mod model;
mod operator;
mod parts;
mod reading;
mod row;
mod screen;
mod socket;
mod transcript;
mod way;
mod who;
mod wire;

use wasm_bindgen::prelude::wasm_bindgen;

/// Draws the page in place of the notice that it is being loaded.
#[wasm_bindgen(start)]
fn start() {
    // A bug here should be as loud as one in JavaScript.
    std::panic::set_hook(Box::new(|panic| browser::log_error(&panic.to_string())));
    app::start();
}
