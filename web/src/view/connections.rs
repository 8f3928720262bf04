//! The connections that the page holds, and the form of the one that is chosen.

use super::{
    act::Act,
    app::App,
    browser,
    dom::{self, El, button, el, text},
    form::Form,
    model::{MAX_WIRES, Model},
    screen::panel,
    wire::Wire,
};
use crate::{
    composer, format,
    session::{Event, State},
    time::Millis,
    words::{Words, fill},
};

pub(super) struct Connections {
    pub(super) root: El,
    list: El,
    items: Vec<Item>,
    add: El,
    remove: El,
    form: Form,
    state: El,
    headline: El,
    details: El,
    advice: El,
    /// What the list of endpoints was made from.
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

impl Connections {
    pub(super) fn new(words: &'static Words) -> Connections {
        let (root, head) = panel("connections", words.connections);
        let add =
            button("+", "add").id("add").class("quiet").attr("aria-label", words.new_connection);
        let add = add.attr("title", words.new_connection);
        head.append(&add);
        let list = el("ul").class("wires");
        let form = Form::new(words);
        let options = el("datalist").id("endpoints");
        let headline = el("strong").id("state-headline");
        let lamp = el("span").class("lamp").attr("aria-hidden", "true");
        let details = el("p").id("state-details").class("details");
        let advice = el("p").id("state-advice").class("details advice");
        let state =
            el("div").id("state").with(&el("p").class("headline").with(&lamp).with(&headline));
        let state = state.with(&details).with(&advice);
        let remove = button(words.remove_connection, "remove").id("remove").class("quiet");
        let fields = form.fields(words).with(&options);
        let root = root.class("panel side").all([&list, &state, &fields, &remove]);
        let items = Vec::new();
        Connections {
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

    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) {
        let words = model.words;
        self.draw_list(model);
        self.add.set("aria-disabled", if model.wires.len() < MAX_WIRES { "false" } else { "true" });
        self.remove.show(model.wires.len() > 1);
        self.draw_endpoints(model);
        let leads = leads_to(model);
        let wire = model.wire();
        let state = wire.session.state();
        self.state.set("data-state", state.name());
        let calm = state.ending().is_none_or(crate::ending::Ending::is_calm);
        self.state.set("data-calm", if calm { "true" } else { "false" });
        let headline = if wire.loaded.is_some() { words.from_file } else { state.headline(words) };
        self.headline.set_text(headline);
        self.details.set_text(&details(wire, words, now));
        let advice = state.ending().map_or("", |ending| ending.advice(words));
        self.advice.set_text(advice);
        self.advice.show(!advice.is_empty());
        self.form.draw(wire, words, &leads);
    }

    fn draw_list(&mut self, model: &Model) {
        while self.items.len() > model.wires.len() {
            if let Some(item) = self.items.pop() {
                item.root.node.remove();
            }
        }
        while self.items.len() < model.wires.len() {
            let item = Item::new();
            self.list.append(&item.root);
            self.items.push(item);
        }
        for (at, (item, wire)) in self.items.iter_mut().zip(&model.wires).enumerate() {
            item.draw(wire, at == model.chosen, model.words);
        }
    }

    fn draw_endpoints(&mut self, model: &Model) {
        let routes = &model.endpoints.routes;
        if routes.len() != self.routes {
            self.routes = routes.len();
            self.options.empty();
            for route in routes {
                let value = browser::place().here(&route.path);
                let label = fill(model.words.leads_to, &[&route.upstream, &route.framing]);
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
        let button = button("", "choose").class("wire").all([&lamp, &name, &count, &headline]);
        Item { root: el("li").with(&button), button, name, headline, count }
    }

    fn draw(&mut self, wire: &Wire, chosen: bool, words: &Words) {
        let state = wire.session.state();
        self.button.set("data-with", &wire.id.to_string());
        self.button.set("data-state", state.name());
        let calm = state.ending().is_none_or(crate::ending::Ending::is_calm);
        self.button.set("data-calm", if calm { "true" } else { "false" });
        self.button.set_if("aria-current", "true", chosen);
        let url = match wire.session.url() {
            "" => &wire.form.endpoint,
            url => url,
        };
        let place = browser::place();
        let name = wire.loaded.as_deref().or_else(|| place.path(url)).unwrap_or(url);
        self.name.set_text(name);
        self.headline.set_text(if wire.loaded.is_some() {
            words.from_file
        } else {
            state.headline(words)
        });
        let stats = wire.session.stats();
        let count = stats.sent.messages + stats.received.messages;
        self.count.set_text(&if count > 0 { format::grouped(count) } else { String::new() });
    }
}

fn details(wire: &Wire, words: &Words, now: Millis) -> String {
    let url = wire.session.url();
    if let Some(file) = &wire.loaded {
        return file.clone();
    }
    match wire.session.state() {
        State::Idle => words.press_connect.to_owned(),
        State::Connecting => fill(words.to_url, &[url]),
        State::Open { protocol, .. } if protocol.is_empty() => fill(words.to_url, &[url]),
        State::Open { protocol, .. } => fill(words.to_url_protocol, &[url, protocol]),
        State::Closing => words.waiting_goodbye.to_owned(),
        State::Waiting { ending, attempt, until } => {
            let seconds = ((until - now).max(0.0) / 1000.0).ceil() as u64;
            let next = fill(words.attempt_in, &[&attempt.to_string(), &seconds.to_string()]);
            format!("{next} {}", ending.sentences(words))
        }
        State::Closed(ending) => ending.sentences(words),
    }
}

/// Where the endpoint in the form leads, as far as the server has told.
fn leads_to(model: &mut Model) -> String {
    let words = model.words;
    let typed = model.wire().form.endpoint.clone();
    let place = browser::place();
    let Ok(url) = place.endpoint(&typed) else { return String::new() };
    let path = place.path(&url).and_then(|path| path.split(['?', '#']).next());
    let route = model.endpoints.routes.iter().find(|route| Some(&*route.path) == path);
    route.map_or_else(String::new, |route| fill(words.leads_to, &[&route.upstream, &route.framing]))
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    let model = &mut app.model;
    if act.asks("toggle") {
        act.handled();
        toggle(app);
    } else if act.asks("add") {
        if model.wires.len() < MAX_WIRES {
            app.model.add_wire();
            browser::focus("endpoint");
        }
    } else if act.asks("remove") {
        if model.wires.len() > 1 {
            model.wires.remove(model.chosen);
            model.chosen = model.chosen.min(model.wires.len() - 1);
        }
    } else if act.asks("choose") {
        let at = model.wires.iter().position(|wire| wire.id.to_string() == act.with);
        model.chosen = at.unwrap_or(model.chosen);
    } else if act.asks("half-close") {
        let wire = model.wire();
        let waiting = matches!(wire.session.state(), State::Waiting { .. });
        let (id, event) = (wire.id, if waiting { disconnect() } else { Event::HalfClose });
        app.with_wire(id, |wire| {
            wire.tell(event);
        });
    } else if act.is("change", "reconnect") {
        model.wire().tell(Event::Reconnect(dom::is_checked(&act.node)));
    } else if act.kind == "input" {
        let form = &mut model.wire().form;
        match &*act.does {
            "endpoint" => form.endpoint = act.value(),
            "protocol" => form.protocols = act.value(),
            "close-code" => form.code = act.value(),
            "close-reason" => form.reason = act.value(),
            _ => return false,
        }
        form.problem = None;
    } else {
        return false;
    }
    true
}

fn toggle(app: &mut App) {
    let wire = app.model.wire();
    if wire.session.state().is_at_rest() {
        return app.connect();
    }
    if let Ok((code, reason)) = composer::closing(&wire.form.code, &wire.form.reason) {
        let id = wire.id;
        app.with_wire(id, |wire| {
            wire.tell(Event::Disconnect { code, reason });
        });
    }
}

fn disconnect() -> Event {
    Event::Disconnect { code: echogate_proto::close::CloseCode::NORMAL, reason: String::new() }
}
