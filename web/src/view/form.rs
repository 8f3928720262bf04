//! The form of the chosen connection: where to, and how it is closed.

use super::{
    dom::{self, El, button, el, text},
    wire::Wire,
};
use crate::{composer, session::State, words::Words};

pub(super) struct Form {
    endpoint: El,
    leads: El,
    problem: El,
    protocol: El,
    reconnect: El,
    toggle: El,
    half_close: El,
    closing: El,
    code: El,
    reason: El,
    code_problem: El,
}

impl Form {
    pub(super) fn new(words: &Words) -> Form {
        let field = |id: &str| {
            let field = el("input").id(id).attr("type", "text").attr("data-do", id);
            field
                .attr("autocomplete", "off")
                .attr("autocapitalize", "off")
                .attr("spellcheck", "false")
        };
        Form {
            endpoint: field("endpoint")
                .attr("list", "endpoints")
                .attr("inputmode", "url")
                .attr("placeholder", words.endpoint_hint)
                .attr("aria-describedby", "endpoint-problem leads-to"),
            leads: el("p").id("leads-to").class("details"),
            problem: el("p").id("endpoint-problem").class("problem").attr("role", "alert"),
            protocol: field("protocol").attr("placeholder", words.none),
            reconnect: el("input")
                .id("reconnect")
                .attr("type", "checkbox")
                .attr("data-do", "reconnect"),
            toggle: el("button").id("toggle").attr("type", "submit"),
            half_close: button(words.end_input, "half-close").id("half-close"),
            closing: el("details").id("closing"),
            code: field("close-code").attr("inputmode", "numeric").attr("placeholder", "1000"),
            reason: field("close-reason").attr("maxlength", "123"),
            code_problem: el("p").id("close-problem").class("problem").attr("role", "alert"),
        }
    }

    pub(super) fn fields(&self, words: &Words) -> El {
        let label = |of: &str, said: &str| text("label", said).attr("for", of);
        let optional = text("small", words.optional);
        let protocol_label = el("label")
            .attr("for", "protocol")
            .plain(words.subprotocols)
            .plain(" ")
            .with(&optional);
        let check = el("label").class("check").with(&self.reconnect).plain(words.reconnect);
        let code = el("div").with(&label("close-code", words.close_code)).with(&self.code);
        let reason = el("div").with(&label("close-reason", words.close_reason)).with(&self.reason);
        let pair = el("div").class("pair").with(&code).with(&reason);
        let closing = self.closing.clone().with(&text("summary", words.close_with)).with(&pair);
        let closing = closing.with(&self.code_problem);
        let buttons = el("div").class("buttons").with(&self.toggle).with(&self.half_close);
        el("form").id("connection").attr("data-do", "toggle").attr("novalidate", "").all([
            &label("endpoint", words.endpoint),
            &self.endpoint,
            &self.leads,
            &self.problem,
            &protocol_label,
            &self.protocol,
            &check,
            &closing,
            &buttons,
        ])
    }

    pub(super) fn draw(&mut self, wire: &Wire, words: &Words, leads: &str) {
        let state = wire.session.state();
        let rest = state.is_at_rest();
        dom::set_value(&self.endpoint.node, &wire.form.endpoint);
        dom::set_value(&self.protocol.node, &wire.form.protocols);
        dom::set_value(&self.code.node, &wire.form.code);
        dom::set_value(&self.reason.node, &wire.form.reason);
        dom::set_checked(&self.reconnect.node, wire.session.reconnects());
        self.endpoint.set_if("readonly", "", !rest);
        self.protocol.set_if("readonly", "", !rest);
        self.leads.set_text(leads);
        self.leads.set("title", leads);
        let problem = wire.form.problem.map_or("", |problem| problem.sentence(words));
        self.problem.set_text(problem);
        self.endpoint.set_if("aria-invalid", "true", !problem.is_empty());
        self.toggle.set_text(match state {
            State::Idle => words.connect,
            State::Closed(_) => words.connect_again,
            State::Waiting { .. } => words.connect_now,
            State::Connecting => words.call_off,
            State::Open { .. } => words.disconnect,
            State::Closing => words.closing,
        });
        self.toggle.set("class", if rest { "primary" } else { "" });
        let (waiting, offered) = (matches!(state, State::Waiting { .. }), state.can_half_close());
        self.half_close.set_text(if waiting { words.call_off } else { words.end_input });
        self.half_close.show(waiting || offered);
        let closing = composer::closing(&wire.form.code, &wire.form.reason);
        let problem = match closing {
            Ok(_) => "",
            Err(true) => words.close_code_wrong,
            Err(false) => words.close_reason_long,
        };
        self.code_problem.set_text(problem);
        self.code.set_if("aria-invalid", "true", !problem.is_empty());
        self.closing.show(matches!(state, State::Open { .. }));
    }
}
