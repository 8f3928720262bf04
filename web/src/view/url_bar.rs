//! The bar of the chosen connection: the endpoint, the state in one line, and the rarer settings.

use echogate_proto::{api::RouteInfo, close::CloseCode};

use super::{
    action::Action,
    browser,
    command::Command,
    connection::{Connection, Source},
    dom::{self, El, button, el, id, text},
    following::{FollowState, Following},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    close_reason::CloseReason,
    composer::{self, CloseError, Draft},
    format,
    i18n::{Texts, fill},
    live,
    session::{Event, State},
    time::Millis,
};

/// The most characters of a URL in a sentence.
const MAX_URL: usize = 60;

pub(super) struct UrlBar {
    pub(super) root: El,
    rare: El,
    endpoint: El,
    protocol: El,
    toggle: El,
    problem: El,
    state: El,
    words: El,
    headline: El,
    details: El,
    advice: El,
    half_close: El,
    reconnect: El,
    closing: El,
    code: El,
    reason: El,
    code_problem: El,
    /// The routes in `options`.
    routes: Vec<RouteInfo>,
    options: El,
    /// The links to the server's routes.
    links: El,
}

impl UrlBar {
    pub(super) fn new(texts: &'static Texts) -> UrlBar {
        let endpoint = field(Action::EditEndpoint, texts.endpoint)
            .attr("list", "endpoints")
            .attr("inputmode", "url")
            .attr("placeholder", texts.endpoint_hint)
            .attr("aria-describedby", "endpoint-problem state-details");
        let protocol = field(Action::EditSubprotocols, texts.subprotocols)
            .attr("placeholder", texts.subprotocols)
            .attr("title", texts.subprotocols_about);
        let toggle = el("button").id(id::TOGGLE).attr("type", "submit");
        let options = el("datalist").id("endpoints");
        let form = el("form")
            .id("connection")
            .action(Action::ToggleConnection)
            .attr("novalidate", "")
            .children([&endpoint, &options, &protocol, &toggle]);
        let problem = el("span").id("endpoint-problem").class("problem").attr("role", "alert");
        let lamp = el("span").class("lamp").attr("aria-hidden", "true");
        let headline = el("strong").id("state-headline");
        let chip = el("span").class("chip").child(&lamp).child(&headline);
        let details = el("span").id("state-details");
        let advice = el("span").id("state-advice").class("advice");
        let half_close =
            button(texts.finish_sending, Action::HalfClose).id("half-close").class("quiet");
        let reconnect =
            el("input").id("reconnect").attr("type", "checkbox").action(Action::SetReconnect);
        let check = el("label").class("check").child(&reconnect).plain_text(texts.reconnect);
        let (closing, [code, reason, code_problem]) = close_fields(texts);
        let rare = el("div").class("rare").children([&half_close, &check, &closing]);
        let links = el("span").id("routes").class("advice");
        let words = el("p").class("state-line").children([&problem, &details, &advice, &links]);
        let words = words.attr("role", "group").attr("aria-labelledby", "state-headline");
        let state = el("div").id("state").children([&chip, &words, &rare]);
        let root = el("section").class("panel url-bar").attr("aria-label", texts.connection);
        let root = root.children([&form, &state]);
        UrlBar {
            root,
            rare,
            endpoint,
            protocol,
            toggle,
            problem,
            state,
            words,
            headline,
            details,
            advice,
            half_close,
            reconnect,
            closing,
            code,
            reason,
            code_problem,
            routes: Vec::new(),
            options,
            links,
        }
    }

    /// Makes the text of the state reachable by keyboard where it scrolls. Measures, and is called
    /// before anything changes in a frame, when that costs no layout.
    pub(super) fn measure(&mut self) {
        let scrolls = self.words.node.scroll_height() > self.words.node.client_height();
        self.words.set_if("tabindex", "0", scrolls);
    }

    /// Draws; returns the time at which a shown countdown changes.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let texts = model.texts;
        self.draw_endpoints(model);
        let details = details(model, now);
        let has_links = lacks_route(model) && !self.routes.is_empty();
        self.links.show(has_links);
        let connection = model.connection();
        let reason = connection.session.state().close_reason().filter(|_| !has_links);
        let advice = reason.map_or("", |reason| reason.advice(texts));
        let (name, is_normal) = connection.state_name();
        self.state.set("data-state", name);
        self.state.set_flag("data-normal", is_normal);
        self.rare.show(!connection.is_read_only());
        self.headline.set_text(connection.headline(texts));
        self.details.set_text(&details);
        self.advice.set_text(advice);
        self.draw_form(connection, texts);
        self.draw_rare(connection, texts);
        countdown_change(connection.session.state(), now)
    }

    fn draw_form(&mut self, connection: &Connection, texts: &Texts) {
        let state = connection.session.state();
        let rest = state.is_at_rest();
        dom::set_value(&self.endpoint.node, &connection.form.endpoint);
        dom::set_value(&self.protocol.node, &connection.form.protocols);
        self.endpoint.set_if("readonly", "", !rest);
        self.protocol.set_if("readonly", "", !rest);
        let problem = connection.form.problem.map_or("", |problem| problem.sentence(texts));
        self.problem.set_text(problem);
        self.endpoint.set_if("aria-invalid", "true", !problem.is_empty());
        let is_read_only = connection.is_read_only();
        self.toggle.set_text(match state {
            _ if is_read_only => texts.new_connection,
            State::Idle => texts.connect,
            State::Closed(_) => texts.connect_again,
            State::Waiting { .. } => texts.connect_now,
            State::Connecting => texts.cancel,
            State::Open { .. } => texts.disconnect,
            State::Closing => texts.closing,
        });
        self.toggle.set("class", if rest && !is_read_only { "primary" } else { "" });
    }

    fn draw_rare(&mut self, connection: &Connection, texts: &Texts) {
        let state = connection.session.state();
        let waiting = matches!(state, State::Waiting { .. });
        self.half_close.set_text(if waiting { texts.cancel } else { texts.finish_sending });
        self.half_close.show(waiting || state.can_half_close());
        dom::set_checked(&self.reconnect.node, connection.session.reconnects());
        dom::set_value(&self.code.node, &connection.form.code);
        dom::set_value(&self.reason.node, &connection.form.reason);
        let problem = match composer::parse_close(&connection.form.code, &connection.form.reason) {
            Ok(_) => "",
            Err(CloseError::Code) => texts.close_code_wrong,
            Err(CloseError::Reason) => texts.close_reason_long,
        };
        self.code_problem.set_text(problem);
        self.code.set_if("aria-invalid", "true", !problem.is_empty());
        self.closing.show(matches!(state, State::Open { .. }));
    }

    fn draw_endpoints(&mut self, model: &Model) {
        if !live::offered_routes(&model.endpoints).eq(&self.routes) {
            self.routes = live::offered_routes(&model.endpoints).cloned().collect();
            self.options.empty();
            self.links.empty();
            self.links.append(&text("span", model.texts.routes_are));
            for route in &self.routes {
                let path = route.path.trim_end_matches('*');
                let label = fill(model.texts.route, &[&route.upstream]);
                self.options.append(&text("option", &label).attr("value", path));
                let link = text("a", path).action(Action::UseRoute).attr("data-argument", path);
                let page = browser::link(path, "", &Draft::default());
                self.links.append(&link.attr("href", &page));
            }
        }
    }
}

fn field(action: Action, label: &str) -> El {
    let field = el("input").id(action.name()).attr("type", "text").action(action);
    field
        .attr("aria-label", label)
        .attr("autocomplete", "off")
        .attr("autocapitalize", "off")
        .attr("spellcheck", "false")
}

/// The form for the Close frame, and in it the fields for code and reason and their error.
fn close_fields(texts: &Texts) -> (El, [El; 3]) {
    let code = field(Action::EditCloseCode, texts.close_code)
        .attr("inputmode", "numeric")
        .attr("placeholder", "1000");
    let reason = field(Action::EditCloseReason, texts.close_reason)
        .attr("placeholder", texts.close_reason)
        .attr("maxlength", "123");
    let problem = el("p").id("close-problem").class("problem").attr("role", "alert");
    let fields = [code, reason, problem];
    let summary = text("summary", texts.close_with);
    let pair = el("div").class("close-with").children(&fields);
    (el("details").id("closing").child(&summary).child(&pair), fields)
}

/// The state in words: the route of a connection, or the reason why there is none.
fn details(model: &mut Model, now: Millis) -> String {
    let texts = model.texts;
    let route = described_route(model);
    let connection = model.connection();
    match &connection.source {
        Source::Client(Following { state: FollowState::Refused(text), .. }) => {
            return texts.reason(text);
        }
        Source::Client(Following { state: FollowState::TooLate, .. }) => {
            return texts.follow_too_late.to_owned();
        }
        Source::Client(Following { name, .. }) | Source::File(name) => return name.clone(),
        Source::Socket => {}
    }
    match connection.session.state() {
        State::Idle | State::Connecting => route,
        State::Open { protocol, .. } if protocol.is_empty() => route,
        State::Open { protocol, .. } => {
            let protocol = fill(texts.with_subprotocol, &[protocol]);
            if route.is_empty() { protocol } else { format!("{route} · {protocol}") }
        }
        State::Closing => texts.waiting_close_frame.to_owned(),
        State::Waiting { cause, attempt, until } => {
            let seconds = ((until - now).max(0.0) / 1000.0).ceil() as u64;
            let next = fill(texts.attempt_in, &[&attempt.to_string(), &seconds.to_string()]);
            format!("{next} {}", sentences(cause, texts))
        }
        State::Closed(cause) => sentences(cause, texts),
    }
}

/// The reason in sentences. A long URL is cut, so that what follows it is in view; the endpoint field
/// shows all of it.
fn sentences(reason: &CloseReason, texts: &Texts) -> String {
    let url = format::text_preview(&reason.url, 0, MAX_URL);
    CloseReason { url, ..reason.clone() }.sentences(texts)
}

/// The route of the endpoint, if the server's endpoints list it.
fn described_route(model: &mut Model) -> String {
    let texts = model.texts;
    let connection = model.connection();
    let location = browser::location();
    let typed = location.parse_endpoint(&connection.form.endpoint);
    let url = match connection.session.state().is_at_rest() {
        true => typed.unwrap_or_default(),
        false => connection.session.url().to_owned(),
    };
    let path = location.local_path(&url);
    let route = path.and_then(|path| live::route(&model.endpoints, path));
    let Some(route) = route else { return String::new() };
    let framing = match &*route.framing {
        "message" => texts.framing_message,
        "line" => texts.framing_line,
        "text" => texts.framing_text,
        "bytes" => texts.framing_bytes,
        "length" => texts.framing_length,
        _ => "",
    };
    let service = live::service_of(&model.endpoints, route);
    let at = match (service, route.upstream.starts_with("service:")) {
        (Some(service), true) => service.to_owned(),
        (Some(service), false) => fill(texts.service_at, &[service, &route.upstream]),
        (None, _) => route.upstream.clone(),
    };
    let leads = fill(texts.route, &[&at]);
    if framing.is_empty() { leads } else { format!("{leads} · {framing}") }
}

/// Whether the last connection was refused because this server has no such route.
fn lacks_route(model: &mut Model) -> bool {
    let session = &model.connection().session;
    let reason = session.state().close_reason();
    reason.is_some_and(|it| it.missing_route().is_some())
        && browser::location().local_path(session.url()).is_some()
}

/// The time at which the shown seconds until the next attempt change.
fn countdown_change(state: &State, now: Millis) -> Option<Millis> {
    let State::Waiting { until, .. } = state else { return None };
    let seconds = ((until - now).max(0.0) / 1000.0).ceil();
    (seconds > 1.0).then_some(until - (seconds - 1.0) * 1000.0)
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    if event.action == Action::ToggleConnection {
        event.prevent_default();
        return Some(toggle(model));
    }
    let connection = model.connection();
    match event.action {
        Action::UseRoute => {
            event.prevent_default();
            connection.form.endpoint.clone_from(&event.argument);
            connection.form.is_default = false;
            // The link that has the focus disappears.
            browser::focus(id::TOGGLE);
            return Some(Command::Connect);
        }
        Action::HalfClose => {
            let waiting = matches!(connection.session.state(), State::Waiting { .. });
            let event = if waiting { cancel() } else { Event::HalfClose };
            return Some(Command::Deliver(connection.id, event));
        }
        Action::SetReconnect => {
            let wanted = dom::is_checked(&event.node);
            connection.on_event(Event::Reconnect(wanted), browser::now());
        }
        Action::EditEndpoint => {
            connection.form.endpoint = event.value();
            connection.form.is_default = false;
            connection.form.problem = None;
        }
        Action::EditSubprotocols => connection.form.protocols = event.value(),
        Action::EditCloseCode => connection.form.code = event.value(),
        Action::EditCloseReason => connection.form.reason = event.value(),
        _ => return None,
    }
    Some(Command::Draw)
}

/// Connects or disconnects. The rows of a file or client stay: an endpoint that is typed there gets a
/// connection of its own.
fn toggle(model: &mut Model) -> Command {
    if model.connection().is_read_only() {
        if !model.has_room() {
            return Command::Draw;
        }
        let form = &model.connection().form;
        let (endpoint, protocols) = (form.endpoint.clone(), form.protocols.clone());
        model.add_connection().take_address(endpoint, protocols);
        return Command::Connect;
    }
    let connection = model.connection();
    if connection.session.state().is_at_rest() {
        return Command::Connect;
    }
    match composer::parse_close(&connection.form.code, &connection.form.reason) {
        Ok((code, reason)) => Command::Deliver(connection.id, Event::Disconnect { code, reason }),
        Err(_) => {
            // The fields with the error may be folded.
            if let Some(closing) = browser::element("closing") {
                closing.set_attribute("open", "").ok();
            }
            Command::Focus(Action::EditCloseCode.name())
        }
    }
}

/// Cancels the wait for a new attempt.
fn cancel() -> Event {
    Event::Disconnect { code: CloseCode::NORMAL, reason: String::new() }
}
