//! The form of the chosen connection: the endpoint and the Close frame.

use super::{
    action::Action,
    connection::Connection,
    dom::{self, El, button, el, id, text},
};
use crate::{
    composer::{self, CloseError},
    i18n::Texts,
    session::State,
};

pub(super) struct EndpointForm {
    endpoint: El,
    route: El,
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

impl EndpointForm {
    pub(super) fn new(texts: &Texts) -> EndpointForm {
        let field = |action: Action| {
            let field = el("input").id(action.name()).attr("type", "text").action(action);
            field
                .attr("autocomplete", "off")
                .attr("autocapitalize", "off")
                .attr("spellcheck", "false")
        };
        EndpointForm {
            endpoint: field(Action::EditEndpoint)
                .attr("list", "endpoints")
                .attr("inputmode", "url")
                .attr("placeholder", texts.endpoint_hint)
                .attr("aria-describedby", "endpoint-problem route"),
            route: el("p").id("route").class("details"),
            problem: el("p").id("endpoint-problem").class("problem").attr("role", "alert"),
            protocol: field(Action::EditSubprotocols).attr("placeholder", texts.none),
            reconnect: el("input")
                .id("reconnect")
                .attr("type", "checkbox")
                .action(Action::SetReconnect),
            toggle: el("button").id(id::TOGGLE).attr("type", "submit"),
            half_close: button(texts.finish_sending, Action::HalfClose).id("half-close"),
            closing: el("details").id("closing"),
            code: field(Action::EditCloseCode)
                .attr("inputmode", "numeric")
                .attr("placeholder", "1000"),
            reason: field(Action::EditCloseReason).attr("maxlength", "123"),
            code_problem: el("p").id("close-problem").class("problem").attr("role", "alert"),
        }
    }

    pub(super) fn fields(&self, texts: &Texts) -> El {
        let label = |of: &str, content: &str| text("label", content).attr("for", of);
        let optional = text("small", texts.optional);
        let protocol_label = el("label")
            .attr("for", id::PROTOCOL)
            .plain_text(texts.subprotocols)
            .plain_text(" ")
            .child(&optional);
        let check = el("label").class("check").child(&self.reconnect).plain_text(texts.reconnect);
        let code = el("div").child(&label("close-code", texts.close_code)).child(&self.code);
        let reason =
            el("div").child(&label("close-reason", texts.close_reason)).child(&self.reason);
        let pair = el("div").class("pair").child(&code).child(&reason);
        let closing = self.closing.clone().child(&text("summary", texts.close_with)).child(&pair);
        let closing = closing.child(&self.code_problem);
        let buttons = el("div").class("buttons").child(&self.toggle).child(&self.half_close);
        el("form")
            .id("connection")
            .action(Action::ToggleConnection)
            .attr("novalidate", "")
            .children([
                &label(id::ENDPOINT, texts.endpoint),
                &self.endpoint,
                &self.route,
                &self.problem,
                &protocol_label,
                &self.protocol,
                &check,
                &closing,
                &buttons,
            ])
    }

    pub(super) fn draw(&mut self, connection: &Connection, texts: &Texts, route: &str) {
        let state = connection.session.state();
        let rest = state.is_at_rest();
        dom::set_value(&self.endpoint.node, &connection.form.endpoint);
        dom::set_value(&self.protocol.node, &connection.form.protocols);
        dom::set_value(&self.code.node, &connection.form.code);
        dom::set_value(&self.reason.node, &connection.form.reason);
        dom::set_checked(&self.reconnect.node, connection.session.reconnects());
        self.endpoint.set_if("readonly", "", !rest);
        self.protocol.set_if("readonly", "", !rest);
        self.route.set_text(route);
        self.route.set("title", route);
        let problem = connection.form.problem.map_or("", |problem| problem.sentence(texts));
        self.problem.set_text(problem);
        self.endpoint.set_if("aria-invalid", "true", !problem.is_empty());
        self.toggle.set_text(match state {
            State::Idle => texts.connect,
            State::Closed(_) => texts.connect_again,
            State::Waiting { .. } => texts.connect_now,
            State::Connecting => texts.cancel,
            State::Open { .. } => texts.disconnect,
            State::Closing => texts.closing,
        });
        self.toggle.set("class", if rest { "primary" } else { "" });
        let (waiting, offered) = (matches!(state, State::Waiting { .. }), state.can_half_close());
        self.half_close.set_text(if waiting { texts.cancel } else { texts.finish_sending });
        self.half_close.show(waiting || offered);
        let parsed = composer::parse_close(&connection.form.code, &connection.form.reason);
        let problem = match parsed {
            Ok(_) => "",
            Err(CloseError::Code) => texts.close_code_wrong,
            Err(CloseError::Reason) => texts.close_reason_long,
        };
        self.code_problem.set_text(problem);
        self.code.set_if("aria-invalid", "true", !problem.is_empty());
        self.closing.show(matches!(state, State::Open { .. }));
    }
}
