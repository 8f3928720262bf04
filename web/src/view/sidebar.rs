//! The page's connections.

use super::{
    action::Action,
    browser,
    command::Command,
    connection::{Connection, Source},
    dom::{self, El, button, el, id, panel, text},
    model::Model,
    user_event::UserEvent,
};
use crate::{format, i18n::Texts, session::State};

pub(super) struct Sidebar {
    pub(super) root: El,
    list: El,
    items: Vec<Item>,
    remove: El,
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
        let add = button("", Action::AddConnection).id("add").class("quiet");
        // Screen readers read the title alone, and so the name once.
        let add = add.attr("title", texts.new_connection);
        let add = add.child(&text("span", "+").attr("aria-hidden", "true"));
        let remove = button(texts.remove, Action::RemoveConnection).id("remove").class("quiet");
        head.append(&el("div").class("tools").child(&remove).child(&add));
        let list = el("ul").class("connections");
        let root = root.class("panel side").child(&list);
        Sidebar { root, list, items: Vec::new(), remove }
    }

    pub(super) fn draw(&mut self, model: &Model) {
        let texts = model.texts;
        self.remove.show(model.connections.len() > 1);
        let [label, name] = match model.asks_before_removal {
            true => [texts.remove_open; 2],
            false => [texts.remove, texts.remove_connection],
        };
        self.remove.set_text(label);
        self.remove.set("aria-label", name);
        while self.items.len() > model.connections.len() {
            if let Some(item) = self.items.pop() {
                item.root.node.remove();
            }
        }
        let is_new = self.items.len() < model.connections.len();
        while self.items.len() < model.connections.len() {
            let item = Item::new();
            self.list.append(&item.root);
            self.items.push(item);
        }
        for (at, (item, connection)) in self.items.iter_mut().zip(&model.connections).enumerate() {
            item.draw(connection, at == model.chosen, texts);
        }
        if is_new {
            dom::scroll_to(&self.list.node, &self.items[model.chosen].root.node);
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
        let (state, is_normal) = connection.state_name();
        self.button.set("data-argument", &connection.id.to_string());
        self.button.set("data-state", state);
        self.button.set_flag("data-normal", is_normal);
        self.button.set_if("aria-current", "true", chosen);
        let location = browser::location();
        let url = match connection.session.url() {
            "" => &connection.form.endpoint,
            url => location.short(url),
        };
        let name = connection.source_name().unwrap_or(url);
        self.name.set_text(name);
        // The address tells one followed client from another.
        self.name.set_flag("data-whole", matches!(connection.source, Source::Client(_)));
        self.button.set("title", name);
        self.headline.set_text(connection.headline(texts));
        let stats = connection.session.stats();
        let count = stats.sent.messages + stats.received.messages;
        self.count.set_text(&if count > 0 { format::grouped(count) } else { String::new() });
    }
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    match event.action {
        Action::AddConnection if model.has_room() => {
            model.add_connection();
            return Some(Command::Focus(id::ENDPOINT));
        }
        Action::AddConnection => {}
        Action::FollowClient => {
            model.follow(event.argument.parse().ok()?);
            return Some(Command::Focus(id::TRANSCRIPT));
        }
        Action::RemoveConnection if model.connections.len() > 1 => {
            let is_open = matches!(model.connection().session.state(), State::Open { .. });
            if is_open && !std::mem::replace(&mut model.asks_before_removal, true) {
                model.texts.remove_asks.clone_into(&mut model.connection().view.note);
                return Some(Command::Draw);
            }
            model.asks_before_removal = false;
            model.connections.remove(model.chosen);
            model.chosen = model.chosen.min(model.connections.len() - 1);
            if model.connections.len() == 1 {
                // The button that has the focus disappears.
                return Some(Command::Focus(Action::AddConnection.name()));
            }
        }
        Action::ChooseConnection => {
            let chosen = |it: &Connection| it.id.to_string() == event.argument;
            model.chosen = model.connections.iter().position(chosen).unwrap_or(model.chosen);
        }
        _ => return None,
    }
    Some(Command::Draw)
}
