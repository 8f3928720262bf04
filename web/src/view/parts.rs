//! What belongs to a connection on the page besides its session.

use web_sys::File;

use crate::{
    composer::{
        Mode,
        history::{Draft, History},
        pace::Pace,
        template::Template,
        transfer::{Expect, Transfer},
    },
    filter::{Matches, Show},
    place::{NoEndpoint, Start},
};

/// What was typed about where to connect and how to close.
pub(super) struct Form {
    pub(super) endpoint: String,
    pub(super) protocols: String,
    pub(super) problem: Option<NoEndpoint>,
    pub(super) code: String,
    pub(super) reason: String,
}

/// What is being written.
pub(super) struct Compose {
    pub(super) draft: Draft,
    /// What the draft came from and still is.
    pub(super) template: Option<Template>,
    pub(super) is_file: bool,
    pub(super) file: Option<File>,
    pub(super) transfer: Option<Transfer>,
    pub(super) expect: Option<Expect>,
    pub(super) history: History,
    pub(super) problem: String,
    pub(super) every: String,
    pub(super) burst: String,
    pub(super) pace: Option<Pace>,
}

/// What is being read.
pub(super) struct Reading {
    pub(super) matches: Matches,
    pub(super) show: Show,
    pub(super) text: String,
    pub(super) top: f64,
    /// The oldest row when that was so.
    pub(super) first: u64,
    /// Whether the list stays at its end.
    pub(super) follow: bool,
    pub(super) selected: Option<u64>,
    pub(super) is_open: bool,
    pub(super) note: String,
}

impl Form {
    pub(super) fn new(start: &Start) -> Form {
        Form {
            endpoint: start.endpoint.clone(),
            protocols: start.protocol.clone(),
            problem: None,
            code: String::new(),
            reason: String::new(),
        }
    }
}

impl Compose {
    pub(super) fn new() -> Compose {
        Compose {
            draft: Draft { mode: Mode::Text, text: String::new() },
            template: None,
            is_file: false,
            file: None,
            transfer: None,
            expect: None,
            history: History::default(),
            problem: String::new(),
            every: "1000".to_owned(),
            burst: "100".to_owned(),
            pace: None,
        }
    }
}

impl Reading {
    pub(super) fn new() -> Reading {
        Reading {
            matches: Matches::default(),
            show: Show::All,
            text: String::new(),
            top: 0.0,
            first: 0,
            follow: true,
            selected: None,
            is_open: false,
            note: String::new(),
        }
    }
}
