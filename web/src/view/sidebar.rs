//! The page's connections, and the form of the chosen one.

use echogate_proto::close::CloseCode;

use super::{
    action::Action,
    browser,
    command::Command,
    connection::Connection,
    dom::{self, El, button, el, id, panel, text},
    endpoint_form::EndpointForm,
    model::{MAX_CONNECTIONS, Model},
    user_event::UserEvent,
};
use crate::{
    composer, format,
    i18n::{Texts, fill},
    live,
    session::{Event, State},
    time::Millis,
};

pub(super) struct Sidebar {
    pub(super) root: El,
    list: El,
    items: Vec<Item>,
    add: El,
    remove: El,
    form: EndpointForm,
    state: El,
    headline: El,
    details: El,
    advice: El,
    /// The number of routes in `options`.
    routes: usize,
    options: El,
}

struct Item {
    root: El,
    button: El,
    name: El,
    headline: El,
    count: El,
}

impl Sidebar {
    pub(super) fn new(texts: &'static Texts) -> Sidebar {
        let (root, head) = panel("connections", texts.connections);
        let add = button("+", Action::AddConnection)
            .id("add")
            .class("quiet")
            .attr("aria-label", texts.new_connection);
        let add = add.attr("title", texts.new_connection);
        head.append(&add);
        let list = el("ul").class("connections");
        let form = EndpointForm::new(texts);
        let options = el("datalist").id("endpoints");
        let headline = el("strong").id("state-headline");
        let lamp = el("span").class("lamp").attr("aria-hidden", "true");
        let details = el("p").id("state-details").class("details");
        let advice = el("p").id("state-advice").class("details advice");
        let state =
            el("div").id("state").child(&el("p").class("headline").child(&lamp).child(&headline));
        let state = state.child(&details).child(&advice);
        let remove =
            button(texts.remove_connection, Action::RemoveConnection).id("remove").class("quiet");
        let fields = form.fields(texts).child(&options);
        let root = root.class("panel side").children([&list, &state, &fields, &remove]);
        let items = Vec::new();
        Sidebar {
            root,
            list,
            items,
            add,
            remove,
            form,
            state,
            headline,
            details,
            advice,
            routes: 0,
            options,
        }
    }

    /// Draws; returns the time at which a shown countdown changes.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let texts = model.texts;
        self.draw_list(model);
        self.add.set_flag("aria-disabled", model.connections.len() >= MAX_CONNECTIONS);
        self.remove.show(model.connections.len() > 1);
        self.draw_endpoints(model);
        let route = described_route(model);
        let connection = model.connection();
        let state = connection.session.state();
        self.state.set("data-state", state.name());
        self.state.set_flag("data-normal", state.is_normal());
        self.headline.set_text(connection.headline(texts));
        self.details.set_text(&details(connection, texts, now));
        let advice = state.close_reason().map_or("", |reason| reason.advice(texts));
        self.advice.set_text(advice);
        self.advice.show(!advice.is_empty());
        self.form.draw(connection, texts, &route);
        countdown_change(state, now)
    }

    fn draw_list(&mut self, model: &Model) {
        while self.items.len() > model.connections.len() {
            if let Some(item) = self.items.pop() {
                item.root.node.remove();
            }
        }
        while self.items.len() < model.connections.len() {
            let item = Item::new();
            self.list.append(&item.root);
            self.items.push(item);
        }
        for (at, (item, connection)) in self.items.iter_mut().zip(&model.connections).enumerate() {
            item.draw(connection, at == model.chosen, model.texts);
        }
    }

    fn draw_endpoints(&mut self, model: &Model) {
        let routes = &model.endpoints.routes;
        if routes.len() != self.routes {
            self.routes = routes.len();
            self.options.empty();
            for route in routes {
                let value = browser::location().url_of(route.path.trim_end_matches('*'));
                let label = fill(model.texts.route, &[&route.upstream, &route.framing]);
                self.options.append(&text("option", &label).attr("value", &value));
            }
        }
    }
}

impl Item {
    fn new() -> Item {
        let lamp = el("span").class("lamp").attr("aria-hidden", "true");
        let (name, headline, count) =
            (el("bdi").class("name"), el("span").class("headline"), el("span").class("count"));
        let button = button("", Action::ChooseConnection)
            .class("entry")
            .children([&lamp, &name, &count, &headline]);
        Item { root: el("li").child(&button), button, name, headline, count }
    }

    fn draw(&mut self, connection: &Connection, chosen: bool, texts: &Texts) {
        let state = connection.session.state();
        self.button.set("data-argument", &connection.id.to_string());
        self.button.set("data-state", state.name());
        self.button.set_flag("data-normal", state.is_normal());
        self.button.set_if("aria-current", "true", chosen);
        let url = match connection.session.url() {
            "" => &connection.form.endpoint,
            url => url,
        };
        let location = browser::location();
        let name = connection.loaded.as_deref().or_else(|| location.local_path(url)).unwrap_or(url);
        self.name.set_text(name);
        self.headline.set_text(connection.headline(texts));
        let stats = connection.session.stats();
        let count = stats.sent.messages + stats.received.messages;
        self.count.set_text(&if count > 0 { format::grouped(count) } else { String::new() });
    }
}

/// The time at which the shown seconds until the next attempt change.
fn countdown_change(state: &State, now: Millis) -> Option<Millis> {
    let State::Waiting { until, .. } = state else { return None };
    let seconds = ((until - now).max(0.0) / 1000.0).ceil();
    (seconds > 1.0).then_some(until - (seconds - 1.0) * 1000.0)
}

fn details(connection: &Connection, texts: &Texts, now: Millis) -> String {
    let url = connection.session.url();
    if let Some(file) = &connection.loaded {
        return file.clone();
    }
    match connection.session.state() {
        State::Idle => texts.press_connect.to_owned(),
        State::Connecting => fill(texts.to_url, &[url]),
        State::Open { protocol, .. } if protocol.is_empty() => fill(texts.to_url, &[url]),
        State::Open { protocol, .. } => fill(texts.to_url_protocol, &[url, protocol]),
        State::Closing => texts.waiting_close_frame.to_owned(),
        State::Waiting { cause, attempt, until } => {
            let seconds = ((until - now).max(0.0) / 1000.0).ceil() as u64;
            let next = fill(texts.attempt_in, &[&attempt.to_string(), &seconds.to_string()]);
            format!("{next} {}", cause.sentences(texts))
        }
        State::Closed(cause) => cause.sentences(texts),
    }
}

/// The route that the endpoint in the form names, if the server's endpoints list it.
fn described_route(model: &mut Model) -> String {
    let texts = model.texts;
    let typed = model.connection().form.endpoint.clone();
    let location = browser::location();
    let Ok(url) = location.parse_endpoint(&typed) else { return String::new() };
    let path = location.local_path(&url);
    let route = path.and_then(|path| live::route(&model.endpoints, path));
    route.map_or_else(String::new, |route| fill(texts.route, &[&route.upstream, &route.framing]))
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let connection = model.connection();
    match event.action {
        Action::ToggleConnection => {
            event.prevent_default();
            return Some(toggle(connection));
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
            connection.form.problem = None;
        }
        Action::EditSubprotocols => connection.form.protocols = event.value(),
        Action::EditCloseCode => connection.form.code = event.value(),
        Action::EditCloseReason => connection.form.reason = event.value(),
        Action::AddConnection if model.connections.len() < MAX_CONNECTIONS => {
            model.add_connection();
            return Some(Command::Focus(id::ENDPOINT));
        }
        Action::RemoveConnection if model.connections.len() > 1 => {
            model.connections.remove(model.chosen);
            model.chosen = model.chosen.min(model.connections.len() - 1);
        }
        Action::ChooseConnection => {
            let chosen = |it: &Connection| it.id.to_string() == event.argument;
            model.chosen = model.connections.iter().position(chosen).unwrap_or(model.chosen);
        }
        _ => return None,
    }
    Some(Command::Draw)
}

fn toggle(connection: &Connection) -> Command {
    if connection.session.state().is_at_rest() {
        return Command::Connect;
    }
    match composer::parse_close(&connection.form.code, &connection.form.reason) {
        Ok((code, reason)) => Command::Deliver(connection.id, Event::Disconnect { code, reason }),
        // The form shows the error.
        Err(_) => Command::Draw,
    }
}

/// Cancels the wait for a new attempt.
fn cancel() -> Event {
    Event::Disconnect { code: CloseCode::NORMAL, reason: String::new() }
}
