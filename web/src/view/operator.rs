//! The operator's side of the `chat` service.

use echogate_proto::{
    close::CloseCode,
    operator::{Conversation, Ending, From, FromOperator, Message},
};

use super::{
    act::Act,
    app::{self, App},
    browser,
    dom::{self, El, button, el, text},
    screen::panel,
    socket::Socket,
};
use crate::{
    ending::How,
    format,
    operator::{Operator, Stage},
    payload::Payload,
    session::Event,
    time::Millis,
    told,
    words::{self, Words, fill},
};

const PATH: &str = "/ws/operator";

/// What the page knows as an operator.
#[derive(Default)]
pub(super) struct Model {
    operator: Operator,
    socket: Option<Socket>,
    token: String,
    answer: String,
    /// Goes up with all that happens.
    version: u64,
}

pub(super) struct Desk {
    pub(super) root: El,
    token: El,
    enter: El,
    told: El,
    desk: El,
    list: El,
    nobody: El,
    title: El,
    log: El,
    answer: El,
    say: El,
    bye: El,
    over: El,
    problem: El,
    drawn: Option<(u64, u64)>,
}

impl Desk {
    pub(super) fn new(words: &'static Words) -> Desk {
        let token = el("input").id("token").attr("type", "password").attr("data-do", "token");
        let token = token.attr("autocomplete", "off").attr("aria-describedby", "token-hint");
        let enter = text("button", words.come_in).id("come-in").attr("type", "submit");
        let told = el("p").id("desk-told").class("details").attr("role", "status");
        let form = el("form").id("door").attr("data-do", "come-in").all([
            &text("label", words.token).attr("for", "token"),
            &token,
            &enter,
            &text("p", words.token_hint).id("token-hint").class("details"),
            &told,
        ]);
        let (door, _) = panel("door-panel", words.operator);
        let door = door.class("panel side").with(&form);
        let (people, _) = panel("people", words.conversations);
        let list = el("ul").class("people");
        let nobody = text("p", words.op_nobody).class("empty");
        let people = people.class("panel side").with(&list).with(&nobody);
        let title = text("h2", words.op_choose).id("conversation-title");
        let log = el("ol")
            .id("said")
            .attr("role", "log")
            .attr("tabindex", "0")
            .attr("aria-labelledby", "conversation-title");
        let answer = el("input").id("answer").attr("type", "text").attr("data-do", "answer");
        let answer = answer.attr("autocomplete", "off").attr("aria-label", words.op_answer);
        let say = text("button", words.send).id("say").class("primary").attr("type", "submit");
        let bye = button(words.op_bye, "bye").id("bye");
        let row = el("form").class("answer").attr("data-do", "say").all([&answer, &say, &bye]);
        let over = el("p").class("notice");
        let problem = el("p").id("desk-problem").class("problem").attr("role", "alert");
        let talk =
            el("section").class("panel conversation").attr("aria-labelledby", "conversation-title");
        let talk = talk.all([&el("header").with(&title), &log, &over, &row, &problem]);
        let desk = el("div").class("desk").with(&people).with(&talk);
        let root = el("div").id("operator").attr("hidden", "").with(&door).with(&desk);
        Desk {
            root,
            token,
            enter,
            told,
            desk,
            list,
            nobody,
            title,
            log,
            answer,
            say,
            bye,
            over,
            problem,
            drawn: None,
        }
    }

    pub(super) fn draw(&mut self, model: &super::model::Model, shown: bool, now: Millis) {
        self.root.show(shown);
        let (words, desk) = (model.words, &model.desk);
        // Once a second the times of those who wait move on.
        let version = (desk.version, (now / 1000.0) as u64);
        if !shown || self.drawn == Some(version) {
            return;
        }
        self.drawn = Some(version);
        let operator = &desk.operator;
        dom::set_value(&self.token.node, &desk.token);
        let away = desk.socket.is_none();
        self.enter.set_text(if away { words.come_in } else { words.leave });
        self.enter.set("class", if away { "primary" } else { "" });
        self.told.set_text(&match operator.stage() {
            Stage::Away => words.op_away.to_owned(),
            Stage::Knocking => words.op_knocking.to_owned(),
            Stage::In(number) => fill(words.op_in, &[&number.to_string()]),
            Stage::Refused => words.op_refused.to_owned(),
            Stage::Lost(sentence) => fill(words.op_lost, &[sentence]),
        });
        let any = operator.conversations().next().is_some();
        self.desk.show(operator.is_in() || any);
        self.nobody.show(!any);
        self.draw_people(operator, words, now);
        self.draw_conversation(desk, words);
    }

    fn draw_people(&mut self, operator: &Operator, words: &Words, now: Millis) {
        let focused = browser::focused();
        self.list.empty();
        for conversation in operator.conversations() {
            let id = conversation.id.to_string();
            let name = text("bdi", &conversation.peer).class("name");
            let state = text("span", &standing(conversation, words, now)).class("headline");
            let mut item = button("", "converse").id(&format!("converse-{id}")).class("wire");
            item = item.attr("data-with", &id).with(&name).with(&state);
            let chosen = operator.chosen().is_some_and(|chosen| chosen.id == conversation.id);
            item.set_if("aria-current", "true", chosen);
            item.set_if("data-waits", "", conversation.waiting_since.is_some());
            if operator.is_unread(conversation.id) {
                item.append(&text("span", words.op_unread).class("mine"));
            }
            self.list.append(&el("li").with(&item));
        }
        if focused.starts_with("converse-") {
            browser::focus(&focused);
        }
    }

    fn draw_conversation(&mut self, desk: &Model, words: &Words) {
        let operator = &desk.operator;
        let chosen = operator.chosen();
        self.title.set_text(chosen.map_or(words.op_choose, |conversation| &conversation.peer));
        let own = match operator.stage() {
            Stage::In(number) => *number,
            _ => u64::MAX,
        };
        self.log.empty();
        for message in chosen.into_iter().flat_map(|conversation| &conversation.messages) {
            self.log.append(&said(message, own, words));
        }
        let bottom = self.log.node.scroll_height();
        self.log.node.set_scroll_top(bottom);
        let ending = chosen.and_then(|conversation| conversation.ending);
        self.over.set_text(&ending.map(|ending| over(ending, words)).unwrap_or_default());
        self.over.show(ending.is_some());
        dom::set_value(&self.answer.node, &desk.answer);
        let possible = operator.is_in() && chosen.is_some() && ending.is_none();
        for control in [&mut self.say, &mut self.bye] {
            control.set("aria-disabled", if possible { "false" } else { "true" });
        }
        self.problem.set_text(operator.problem().unwrap_or_default());
    }
}

fn standing(conversation: &Conversation, words: &Words, now: Millis) -> String {
    match (conversation.ending, conversation.waiting_since) {
        (Some(ending), _) => over(ending, words),
        (None, Some(since)) => fill(words.op_waits, &[&format::age(now / 1000.0 - since)]),
        (None, None) => words.op_answered.to_owned(),
    }
}

fn over(ending: Ending, words: &Words) -> String {
    match ending {
        Ending::Client => words.op_over_client.to_owned(),
        Ending::Operator(number) => fill(words.op_over_operator, &[&number.to_string()]),
        Ending::Left => words.op_over_left.to_owned(),
        Ending::Vanished => words.op_over_vanished.to_owned(),
        Ending::Server => words.op_over_server.to_owned(),
    }
}

fn said(message: &Message, own: u64, words: &Words) -> El {
    let at = message.at * 1000.0;
    let (class, who) = match message.from {
        From::Client => ("theirs", words.op_client.to_owned()),
        From::Operator(number) if number == own => ("ours", words.op_you.to_owned()),
        From::Operator(number) => ("ours", fill(words.op_other, &[&number.to_string()])),
    };
    let time = format::clock(at, browser::minutes_ahead(at));
    let about = text("small", &format!("{who} · {}", &time[..8]));
    el("li").class(class).with(&about).with(&text("bdi", &message.text).attr("dir", "auto"))
}

pub(super) fn act(app: &mut App, act: &Act) -> bool {
    let desk = &mut app.model.desk;
    if act.is("input", "token") {
        desk.token = act.value();
        return true;
    }
    if act.is("input", "answer") {
        desk.answer = act.value();
        return true;
    }
    if act.is("submit", "come-in") {
        act.handled();
        if desk.socket.take().is_some() {
            desk.operator.left();
        } else {
            knock(desk, app.model.words);
        }
    } else if act.is("submit", "say") {
        act.handled();
        let text = std::mem::take(&mut desk.answer);
        desk.say(&text);
    } else if act.asks("bye") {
        desk.say(echogate_proto::operator::BYE);
    } else if act.asks("converse") {
        desk.operator.choose(act.with.parse().unwrap_or(0));
    } else {
        return false;
    }
    app.model.desk.version += 1;
    true
}

fn knock(desk: &mut Model, words: &'static Words) {
    desk.operator.knock();
    let url = browser::place().here(PATH);
    let tell = move |event| app::with(|app| app.model.desk.heard(event, words));
    match Socket::open(&url, &[], tell) {
        Ok(socket) => desk.socket = Some(socket),
        Err(words) => desk.operator.ended(false, words),
    }
}

impl Model {
    fn heard(&mut self, event: Event, words: &Words) {
        self.version += 1;
        match event {
            Event::Opened { .. } => {
                let token = self.operator.opened(&self.token);
                self.send(&token);
            }
            Event::Received(Payload::Text(text)) => {
                if let Some(message) = told::to_operator(&text) {
                    self.operator.take(message);
                }
            }
            Event::Ended { code, reason, clean } => {
                let how = if clean { How::ByPeer } else { How::Broken };
                let ending = crate::ending::Ending { how, code, reason, unsent: 0, unanswered: 0 };
                let advice = words::advice(words.language, code);
                let sentence = format!("{} {advice}", ending.sentences(words));
                // Through a bridge the service's refusal may be but the end of its stream.
                let refused = matches!(code, CloseCode::POLICY | CloseCode::NORMAL);
                self.operator.ended(refused, sentence);
                self.socket = None;
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(message) = self.operator.say(text) {
            self.send(&message);
        }
    }

    fn send(&self, message: &FromOperator) {
        let text = told::from_operator(message);
        if let Some(socket) = &self.socket {
            socket.send(&Payload::from(text.as_str()));
        }
    }
}
