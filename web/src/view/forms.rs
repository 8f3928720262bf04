//! The state of a connection's forms: endpoint, message and transcript view.

use std::{cell::RefCell, rc::Rc};

use web_sys::File;

use super::{browser, pattern};
use crate::{
    composer::{
        Draft,
        history::History,
        pace::Pace,
        template::Template,
        transfer::{Expect, Transfer},
    },
    filter::{Filter, Matches, Show},
    location::{EndpointError, StartOptions},
    pairing::Pairing,
    payload_view::PayloadView,
    search::Query,
};

/// The form for the endpoint and the Close frame.
pub(super) struct ConnectionForm {
    pub(super) endpoint: String,
    /// Whether the endpoint is the default, which the server's endpoints may change.
    pub(super) is_default: bool,
    pub(super) protocols: String,
    pub(super) problem: Option<EndpointError>,
    pub(super) code: String,
    pub(super) reason: String,
}

/// The form for messages and files.
pub(super) struct MessageForm {
    pub(super) draft: Draft,
    /// The template that the draft came from, until it is edited.
    pub(super) template: Option<Template>,
    pub(super) is_file: bool,
    pub(super) file: Option<File>,
    pub(super) transfer: Option<Transfer>,
    pub(super) expect: Option<Expect>,
    /// The history, which all connections share.
    pub(super) history: Rc<RefCell<History>>,
    pub(super) problem: String,
    /// The interval of repetitions, in milliseconds, as typed.
    pub(super) interval: String,
    pub(super) burst: String,
    /// The message that is repeated, and its schedule.
    pub(super) repeated: Option<(Draft, Pace)>,
    /// The template of the message that is repeated, if it is refreshed with each send.
    pub(super) repeated_template: Option<Template>,
}

/// The view of the transcript: filter, scroll position and selection.
pub(super) struct TranscriptView {
    pub(super) matches: Matches,
    pub(super) show: Show,
    /// The text that is searched for.
    pub(super) text: String,
    /// Whether the text is a regular expression.
    pub(super) is_pattern: bool,
    /// The browser's error message about the regular expression.
    pub(super) pattern_error: Option<String>,
    /// The number of changes of the filter.
    pub(super) filter_version: u32,
    /// The rule for pairing replies that the user chose.
    pub(super) pairing: Option<Pairing>,
    /// The view of opened messages that the user chose.
    pub(super) payload_view: Option<PayloadView>,
    /// The row whose message is shown in full, however long it is.
    pub(super) in_full: Option<u64>,
    /// The scroll position, in CSS pixels.
    pub(super) top: f64,
    /// The number of the oldest row at that scroll position.
    pub(super) first: u64,
    /// Whether the list scrolls with new rows.
    pub(super) follow: bool,
    /// The number of the last row that was shown while the list scrolled with new rows, plus one.
    pub(super) end: u64,
    pub(super) selected: Option<u64>,
    pub(super) is_open: bool,
    /// The opened row to which the list has been scrolled.
    pub(super) revealed: Option<u64>,
    /// Whether the page scrolls to the end of the list once the connection is open.
    pub(super) reveals_end: bool,
    pub(super) note: String,
    /// The number of the first row that was not exported.
    pub(super) exported: u64,
    /// Whether the ladder is shown instead of the rows.
    pub(super) is_ladder: bool,
}

impl ConnectionForm {
    /// The form with the endpoint of the page's URL, or else with this default.
    pub(super) fn new(options: &StartOptions, default: &str) -> ConnectionForm {
        let location = browser::location();
        let endpoint = options.endpoint.as_deref().map(|url| location.short(url));
        ConnectionForm {
            endpoint: endpoint.unwrap_or(default).to_owned(),
            is_default: endpoint.is_none(),
            protocols: options.protocol.clone(),
            problem: None,
            code: String::new(),
            reason: String::new(),
        }
    }
}

impl MessageForm {
    pub(super) fn new(history: Rc<RefCell<History>>) -> MessageForm {
        MessageForm {
            draft: Draft::default(),
            template: None,
            is_file: false,
            file: None,
            transfer: None,
            expect: None,
            history,
            problem: String::new(),
            interval: "1000".to_owned(),
            burst: "100".to_owned(),
            repeated: None,
            repeated_template: None,
        }
    }

    /// Forgets the draft's template and problem, after the user has edited the draft.
    pub(super) fn edited(&mut self) {
        (self.template, self.problem) = (None, String::new());
    }

    /// Whether there is no message: an empty one is sent only if it was chosen.
    pub(super) fn is_nothing(&self) -> bool {
        self.draft.text.is_empty() && self.template.is_none()
    }
}

impl TranscriptView {
    pub(super) fn new() -> TranscriptView {
        TranscriptView {
            matches: Matches::default(),
            show: Show::All,
            text: String::new(),
            is_pattern: false,
            pattern_error: None,
            filter_version: 0,
            pairing: None,
            payload_view: None,
            in_full: None,
            top: 0.0,
            first: 0,
            follow: true,
            end: 0,
            selected: None,
            is_open: false,
            revealed: None,
            reveals_end: false,
            note: String::new(),
            exported: 0,
            is_ladder: false,
        }
    }

    /// The number of the row that the user has opened.
    pub(super) fn opened(&self) -> Option<u64> {
        self.selected.filter(|_| self.is_open)
    }

    /// Applies a changed filter, and scrolls to the end.
    pub(super) fn filter_changed(&mut self) {
        self.refresh_filter();
        self.follow = true;
    }

    /// Applies the filter anew, after a change of the rows that it depends on.
    pub(super) fn refresh_filter(&mut self) {
        let query = match self.is_pattern && !self.text.is_empty() {
            false => Ok(Query::text(&self.text)),
            true => pattern::compile(&self.text).map(|find| Query::Pattern(find.into())),
        };
        self.pattern_error = query.as_ref().err().cloned();
        // While a regular expression is invalid, all rows are shown.
        let query = query.unwrap_or_default();
        self.matches.set_filter(Filter { show: self.show, query });
        self.filter_version += 1;
    }
}
