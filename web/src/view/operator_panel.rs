//! The operator's view of the `chat` service.

use echogate_proto::chat::{Author, Conversation, Ending, Message};

use super::{
    action::Action,
    browser,
    command::Command,
    dom::{self, El, button, el, id, panel, text},
    keyed_list::{self, KeyedRow},
    model::Model,
    operator_session::OperatorSession,
    user_event::UserEvent,
};
use crate::{
    format,
    i18n::{Texts, fill},
    operator::{Operator, SignIn},
    redraw::next_second,
    time::Millis,
};

/// The most characters of a conversation's last message that the list shows: more than fit.
const MAX_PREVIEW: usize = 100;

pub(super) struct OperatorPanel {
    pub(super) root: El,
    /// The elements that are shown until the server has accepted the token.
    token_parts: [El; 3],
    token: El,
    sign_in: El,
    status: El,
    desk: El,
    list: El,
    nobody: El,
    title: El,
    log: El,
    answer: El,
    send: El,
    end: El,
    ended: El,
    problem: El,
    /// The version of the drawn session.
    drawn: Option<u64>,
    /// The entries of the list, in its order.
    entries: Vec<Entry>,
    /// The conversation in the log, the operator's own number, and the time of the first message.
    log_of: (Option<u64>, Option<u64>, Option<f64>),
}

impl OperatorPanel {
    pub(super) fn new(texts: &'static Texts) -> OperatorPanel {
        let token = el("input").id(id::TOKEN).attr("type", "password").action(Action::EditToken);
        let token = token.attr("autocomplete", "off").attr("aria-describedby", "token-hint");
        let sign_in = text("button", texts.sign_in).id(id::SIGN_IN).attr("type", "submit");
        let status = el("p").id("operator-status").class("details").attr("role", "status");
        let label = text("label", texts.token).attr("for", id::TOKEN);
        let hint = hint(texts.token_hint).id("token-hint").class("details");
        let form = el("form").id("sign-in-form").action(Action::SignIn);
        let form = form.children([&label, &token, &sign_in, &hint, &status]);
        let token_parts = [label, token.clone(), hint];
        let (sign_in_panel, _) = panel("sign-in-panel", texts.operator);
        let sign_in_panel = sign_in_panel.class("panel side").child(&form);
        let (conversations, _) = panel("conversations", texts.conversations);
        let list = el("ul").class("conversations");
        let nobody = text("p", texts.op_nobody).class("empty");
        let conversations = conversations.class("panel side").child(&list).child(&nobody);
        let title = text("h2", texts.op_choose).id("conversation-title");
        let log = el("ol")
            .id("chat-log")
            .attr("role", "log")
            .attr("tabindex", "0")
            .attr("aria-labelledby", "conversation-title");
        let answer = el("input").id(id::ANSWER).attr("type", "text").action(Action::EditAnswer);
        let answer = answer.attr("autocomplete", "off").attr("aria-label", texts.op_answer);
        let send =
            text("button", texts.send).id("send-answer").class("primary").attr("type", "submit");
        let end = button(texts.op_bye, Action::EndChat).id("end-chat");
        let form_row =
            el("form").class("answer").action(Action::SendAnswer).children([&answer, &send, &end]);
        let ended = el("p").class("notice");
        let problem = el("p").id("operator-problem").class("problem").attr("role", "alert");
        let conversation =
            el("section").class("panel conversation").attr("aria-labelledby", "conversation-title");
        let conversation =
            conversation.children([&el("header").child(&title), &log, &ended, &form_row, &problem]);
        let desk = el("div").class("chat-desk").child(&conversations).child(&conversation);
        let root = el("div").id("operator").attr("hidden", "").child(&sign_in_panel).child(&desk);
        OperatorPanel {
            root,
            token_parts,
            token,
            sign_in,
            status,
            desk,
            list,
            nobody,
            title,
            log,
            answer,
            send,
            end,
            ended,
            problem,
            drawn: None,
            entries: Vec::new(),
            log_of: Default::default(),
        }
    }

    /// Draws; returns the time at which a waiting time changes.
    pub(super) fn draw(&mut self, model: &Model, now: Millis) -> Option<Millis> {
        let (texts, session) = (model.texts, &model.operator);
        let operator = &session.operator;
        let version = Some(session.version);
        // Drawn only after a change: otherwise the log keeps its scroll position and selection, and
        // the list its elements, so that a click is not lost between press and release.
        if std::mem::replace(&mut self.drawn, version) != version {
            self.draw_sign_in(model, texts);
            self.draw_list(operator, texts, now);
            self.draw_conversation(session, texts);
        } else {
            self.draw_waiting_times(operator, texts, now);
        }
        let waits = operator.conversations().any(|it| it.waiting_since.is_some());
        waits.then(|| next_second(now))
    }

    fn draw_sign_in(&mut self, model: &Model, texts: &Texts) {
        let session = &model.operator;
        let operator = &session.operator;
        dom::set_value(&self.token.node, &session.token);
        let connected = session.is_connected();
        let signed_in = operator.is_signed_in();
        self.root.set_flag("data-signed-in", signed_in);
        self.token_parts.iter_mut().for_each(|part| part.show(!signed_in));
        self.sign_in.set_text(if connected { texts.sign_out } else { texts.sign_in });
        self.sign_in.set("class", if connected { "" } else { "primary" });
        let failed = matches!(operator.sign_in(), SignIn::WrongToken | SignIn::Disconnected(_));
        self.status.set("class", if failed { "problem" } else { "details" });
        self.status.set_text(&match operator.sign_in() {
            SignIn::SignedOut => texts.op_signed_out.to_owned(),
            SignIn::SigningIn => texts.op_signing_in.to_owned(),
            SignIn::SignedIn(number) => fill(texts.op_in, &[&number.to_string()]),
            SignIn::WrongToken => texts.op_wrong_token.to_owned(),
            SignIn::Disconnected(reason) => fill(texts.op_lost, &[reason]),
        });
        let any = operator.conversations().next().is_some();
        self.desk.show(signed_in || any);
        self.nobody.show(!any);
        self.nobody.set_text(&match model.command_for("chat") {
            Some(command) => fill(texts.op_nobody_try, &[&command]),
            None => texts.op_nobody.to_owned(),
        });
    }

    fn draw_list(&mut self, operator: &Operator, texts: &Texts, now: Millis) {
        let focused = browser::focused();
        let conversations: Vec<&Conversation> = operator.conversations().collect();
        let ids: Vec<u64> = conversations.iter().map(|conversation| conversation.id).collect();
        keyed_list::arrange(&self.list, &mut self.entries, &ids, |rank| {
            Entry::new(conversations[rank], texts)
        });
        for (conversation, entry) in conversations.iter().zip(&mut self.entries) {
            entry.draw(conversation, operator);
        }
        self.draw_waiting_times(operator, texts, now);
        if focused.starts_with("chat-") {
            browser::focus(&focused);
        }
    }

    fn draw_waiting_times(&mut self, operator: &Operator, texts: &Texts, now: Millis) {
        for (conversation, entry) in operator.conversations().zip(&mut self.entries) {
            entry.state.set_text(&conversation_state(conversation, operator, texts, now));
        }
    }

    /// Adds the messages that the log does not have. The log keeps its scroll position unless it was at
    /// its end, the operator has answered, or another conversation was chosen.
    fn draw_log(&mut self, chosen: Option<&Conversation>, own: Option<u64>, texts: &Texts) {
        let messages = chosen.map_or(&[][..], |conversation| &conversation.messages);
        let log_of = (chosen.map(|it| it.id), own, messages.first().map(|message| message.at));
        let is_other = std::mem::replace(&mut self.log_of, log_of) != log_of;
        if is_other {
            self.log.empty();
        }
        let was_at_end = dom::is_at_end(&self.log.node);
        let drawn = self.log.node.child_element_count() as usize;
        let new = messages.get(drawn..).unwrap_or_default();
        let has_answered =
            own.is_some_and(|own| new.iter().any(|it| it.from == Author::Operator(own)));
        for message in new {
            self.log.append(&message_item(message, own, texts));
        }
        if is_other || was_at_end || has_answered {
            dom::scroll_to_end(&self.log.node);
        }
    }

    fn draw_conversation(&mut self, session: &OperatorSession, texts: &Texts) {
        let operator = &session.operator;
        let chosen = operator.chosen();
        self.title.set_text(chosen.map_or(texts.op_choose, |conversation| &conversation.peer));
        self.draw_log(chosen, own_number(operator), texts);
        let ending = chosen.and_then(|conversation| conversation.ending);
        self.ended.set_text(
            &ending.map(|ending| ending_text(ending, operator, texts)).unwrap_or_default(),
        );
        self.ended.show(ending.is_some());
        dom::set_value(&self.answer.node, &session.answer);
        let possible = operator.is_signed_in() && chosen.is_some() && ending.is_none();
        for control in [&mut self.send, &mut self.end] {
            control.set_flag("aria-disabled", !possible);
        }
        self.problem.set_text(operator.error().unwrap_or_default());
    }
}

/// A text with an option of the command line, which no line break divides.
fn hint(about: &str) -> El {
    let (before, rest) = about.split_at(about.find("--").unwrap_or_default());
    let ends = |c: char| c != '-' && !c.is_ascii_lowercase();
    let (option, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    el("p").plain_text(before).child(&text("span", option)).plain_text(after)
}

/// A conversation in the list.
struct Entry {
    /// The identifier of the conversation.
    id: u64,
    item: El,
    button: El,
    state: El,
    unread: El,
    preview: El,
}

impl KeyedRow for Entry {
    fn key(&self) -> u64 {
        self.id
    }

    fn root(&self) -> &El {
        &self.item
    }
}

impl Entry {
    fn new(conversation: &Conversation, texts: &Texts) -> Entry {
        let id = conversation.id.to_string();
        let name = text("bdi", &conversation.peer).class("name");
        let state = el("span").class("headline");
        let unread = text("span", texts.op_unread).class("mine");
        let preview = el("bdi").class("preview").attr("dir", "auto");
        let button = button("", Action::ChooseConversation).id(&format!("chat-{id}"));
        let button = button.class("entry").attr("data-argument", &id);
        let button = button.children([&name, &state, &unread, &preview]);
        let item = el("li").child(&button);
        Entry { id: conversation.id, item, button, state, unread, preview }
    }

    fn draw(&mut self, conversation: &Conversation, operator: &Operator) {
        let is_chosen = operator.chosen().is_some_and(|chosen| chosen.id == self.id);
        self.button.set_if("aria-current", "true", is_chosen);
        self.button.set_if("data-waits", "", conversation.waiting_since.is_some());
        self.unread.show(operator.is_unread(self.id));
        let last = conversation.messages.last();
        let preview = last.map(|message| format::text_preview(&message.text, 0, MAX_PREVIEW));
        self.preview.set_text(&preview.unwrap_or_default());
        self.preview.show(last.is_some());
    }
}

/// The operator's own number, once signed in.
fn own_number(operator: &Operator) -> Option<u64> {
    match operator.sign_in() {
        SignIn::SignedIn(number) => Some(*number),
        _ => None,
    }
}

fn conversation_state(
    conversation: &Conversation,
    operator: &Operator,
    texts: &Texts,
    now: Millis,
) -> String {
    match (conversation.ending, conversation.waiting_since) {
        (Some(ending), _) => ending_text(ending, operator, texts),
        (None, Some(since)) => fill(texts.op_waits, &[&format::age(now / 1000.0 - since)]),
        (None, None) => texts.op_answered.to_owned(),
    }
}

fn ending_text(ending: Ending, operator: &Operator, texts: &Texts) -> String {
    match ending {
        Ending::Operator(number) if own_number(operator) == Some(number) => {
            texts.op_over_you.to_owned()
        }
        Ending::Client => texts.op_over_client.to_owned(),
        Ending::Operator(number) => fill(texts.op_over_operator, &[&number.to_string()]),
        Ending::Left => texts.op_over_left.to_owned(),
        Ending::Vanished => texts.op_over_vanished.to_owned(),
        Ending::Server => texts.op_over_server.to_owned(),
    }
}

fn message_item(message: &Message, own: Option<u64>, texts: &Texts) -> El {
    let at = message.at * 1000.0;
    let (class, author) = match message.from {
        Author::Client => ("theirs", texts.op_client.to_owned()),
        Author::Operator(number) if own == Some(number) => ("ours", texts.op_you.to_owned()),
        Author::Operator(number) => ("ours", fill(texts.op_other, &[&number.to_string()])),
    };
    let time = format::clock(at, browser::minutes_ahead(at));
    let about = text("small", &format!("{author} · {}", &time[..8]));
    el("li")
        .class(class)
        .child(&about)
        .child(&text("bdi", &format::escaped(&message.text)).attr("dir", "auto"))
}

pub(super) fn act(model: &mut Model, event: &UserEvent) -> Option<Command> {
    let session = &mut model.operator;
    match event.action {
        Action::EditToken => session.token = event.value(),
        Action::EditAnswer => session.answer = event.value(),
        Action::SignIn => {
            event.prevent_default();
            session.toggle();
        }
        Action::SendAnswer => {
            event.prevent_default();
            session.send_answer();
        }
        Action::EndChat => session.end_chat(),
        Action::ChooseConversation => session.choose(event.argument.parse().unwrap_or(0)),
        _ => return None,
    }
    Some(Command::Draw)
}
