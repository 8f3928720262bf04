//! The content of an empty transcript: a card for each route of the server, and for each service with
//! listeners and without a route.

use super::{
    action::Action,
    browser,
    command::Command,
    dom::{El, button, el, id, text},
    model::Model,
    user_event::UserEvent,
};
use crate::{
    cards::{self, Card, Service},
    composer::Draft,
    i18n::{Texts, fill},
};

/// The most cards.
const MAX: usize = 8;

pub(super) struct FirstRun {
    pub(super) root: El,
    cards: El,
    more: El,
    play: El,
    /// The cards that are drawn.
    drawn: Vec<Card>,
}

impl FirstRun {
    pub(super) fn new(texts: &Texts) -> FirstRun {
        let cards = el("ul").class("cards");
        let more = el("p").class("details");
        let intro = text("p", texts.first_run);
        let play = button(texts.lesson_about, Action::PlayLesson).id("play-first").class("quiet");
        let root = el("div").id("empty").class("empty").children([&intro, &cards, &more, &play]);
        FirstRun { root, cards, more, play, drawn: Vec::new() }
    }

    pub(super) fn draw(&mut self, model: &Model, shown: bool) {
        self.root.show(shown);
        if !shown {
            return;
        }
        self.play.show(model.lesson_path().is_some());
        let cards = cards::cards(&model.endpoints, &browser::location());
        if cards != self.drawn {
            self.cards.empty();
            for (at, card) in cards.iter().take(MAX).enumerate() {
                self.cards.append(&draw_card(at, card, model.texts));
            }
            let more = cards.len().saturating_sub(MAX);
            self.more.set_text(&fill(model.texts.clients_more, &[&more.to_string()]));
            self.more.show(more > 0);
            self.drawn = cards;
        }
    }
}

fn draw_card(at: usize, card: &Card, texts: &Texts) -> El {
    let path = card.path.as_deref().unwrap_or_default();
    let name = card.service.map_or(path, |service| service.name());
    let title = el("h3").child(&text("span", name));
    let at = at.to_string();
    let head = el("div").class("card-head").child(&title);
    if card.path.is_some() {
        let try_it =
            button(texts.try_it, Action::TryCard).class("primary").attr("data-argument", &at);
        let try_it = try_it.attr("aria-label", &format!("{}: {name}", texts.try_it));
        // A route without a service is named by its path.
        if card.service.is_some() {
            head.append(&text("small", path));
        }
        head.append(&try_it);
    }
    let about = match card.service {
        Some(Service::Upper) => texts.about_upper,
        Some(Service::Echo) => texts.about_echo,
        Some(Service::Time) => texts.about_time,
        Some(Service::Chat) => texts.about_chat,
        None => &card.target,
    };
    let root = el("li").class("card").child(&head).child(&text("p", about));
    if card.path.is_none() {
        root.append(&text("p", texts.card_without_route));
    }
    for command in &card.commands {
        let copy = button(texts.copy, Action::CopyCommand).class("quiet");
        let copy = copy.attr("data-argument", command);
        let copy = copy.attr("aria-label", &format!("{}: {command}", texts.copy));
        root.append(&el("div").class("command").child(&text("code", command)).child(&copy));
    }
    root
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let texts = model.texts;
    match event.action {
        Action::TryCard => {
            let cards = cards::cards(&model.endpoints, &browser::location());
            let card = cards.get(event.argument.parse::<usize>().ok()?)?;
            let path = card.path.clone()?;
            let connection = model.connection();
            if !connection.session.state().is_at_rest() && connection.form.endpoint != path {
                if !model.has_room() {
                    return Some(Command::Draw);
                }
                model.add_connection();
            }
            let connection = model.connection();
            connection.form.endpoint = path;
            connection.form.is_default = false;
            let compose = &mut connection.compose;
            compose.draft = Draft::text(card.message());
            (compose.template, compose.is_file) = (None, false);
            // The button that has the focus disappears, and the reply comes at the end of the list.
            connection.view.reveals_end = browser::has_touch();
            let command = connection.send_or_connect(texts);
            if !browser::has_touch() {
                browser::focus(id::MESSAGE);
            }
            Some(command)
        }
        Action::CopyCommand => {
            let id = model.connection().id;
            Some(Command::Copy(id, event.argument.clone()))
        }
        _ => None,
    }
}
