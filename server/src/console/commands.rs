//! Lines typed at the console (see [`HELP`]), and the text that the console shows.

use std::{collections::BTreeMap, fmt::Write};

use echogate_proto::chat::{Author, Conversation, Ending, Message, ToOperator};

/// The state of the console.
#[derive(Debug)]
pub(super) struct Console {
    operator: u64,
    /// The open conversations, by number.
    open: BTreeMap<u64, OpenConversation>,
    selected: Option<u64>,
}

#[derive(Debug)]
struct OpenConversation {
    peer: String,
    waiting_since: Option<f64>,
}

/// The effect of a typed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Shows whole lines.
    Show(String),
    /// Sends a message in a conversation.
    Say(u64, String),
}

/// The commands, as `@?` shows them.
const HELP: &str = "\
@3 TEXT   send TEXT in conversation 3 and select that conversation
@3        select conversation 3
TEXT      send TEXT in the selected conversation, or in the only open one
bye       end the conversation in which it is sent
@         list the open conversations, and how long each client has been waiting
@?        show this help
";

const NO_CONVERSATIONS: &str = "no open conversations\n";

impl Console {
    /// Creates a console. Of `conversations`, it has those that are open. Returns the text to show
    /// first.
    pub(super) fn new(operator: u64, conversations: &[Conversation]) -> (Console, String) {
        let mut console = Console { operator, open: BTreeMap::new(), selected: None };
        let mut text = "chat operator console: type @? for help\n".to_owned();
        for conversation in conversations.iter().filter(|it| it.ending.is_none()) {
            text += &console.opened(conversation);
        }
        (console, text)
    }

    /// Applies an event from the hub. Returns the text to show.
    pub(super) fn on_event(&mut self, event: &ToOperator) -> String {
        match event {
            ToOperator::Welcome { .. } => String::new(),
            ToOperator::Opened { conversation } => self.opened(conversation),
            ToOperator::Said { conversation, message } => self.said(*conversation, message),
            ToOperator::Ended { conversation, ending } => {
                self.open.remove(conversation);
                self.selected = self.selected.filter(|selected| selected != conversation);
                format!("[{conversation}] {}\n", self.ended(*ending))
            }
            ToOperator::Error { text } => format!("{text}\n"),
        }
    }

    /// Parses a line that was typed at `now` (seconds since 1970).
    pub(super) fn parse(&mut self, line: &str, now: f64) -> Action {
        let Some(command) = line.strip_prefix('@') else {
            let only =
                || (self.open.len() == 1).then(|| self.open.keys().next().copied()).flatten();
            return match self.selected.or_else(only) {
                Some(conversation) => Action::Say(conversation, line.to_owned()),
                None if self.open.is_empty() => Action::Show(NO_CONVERSATIONS.to_owned()),
                None => Action::Show(format!(
                    "several conversations are open: select one with @NUMBER\n{}",
                    self.list(now)
                )),
            };
        };
        let (number, text) = command.split_once(' ').unwrap_or((command, ""));
        let conversation = match (number, number.parse()) {
            ("", _) => return Action::Show(self.list(now)),
            ("?", _) => return Action::Show(HELP.to_owned()),
            (_, Ok(id)) if self.open.contains_key(&id) => id,
            (number, _) => {
                return Action::Show(format!("no open conversation {number}\n"));
            }
        };
        self.selected = Some(conversation);
        match text.trim() {
            "" => Action::Show(format!("[{conversation}] selected\n")),
            text => Action::Say(conversation, text.to_owned()),
        }
    }

    fn opened(&mut self, conversation: &Conversation) -> String {
        let Conversation { id, peer, waiting_since, messages, .. } = conversation;
        let waiting_since = *waiting_since;
        self.open.insert(*id, OpenConversation { peer: peer.clone(), waiting_since });
        let mut text = format!("[{id}] {peer} connected\n");
        for message in messages {
            text += &self.line(*id, message);
        }
        text
    }

    fn said(&mut self, conversation: u64, message: &Message) -> String {
        if let Some(open) = self.open.get_mut(&conversation) {
            match message.from {
                Author::Client => open.waiting_since = open.waiting_since.or(Some(message.at)),
                Author::Operator(_) => open.waiting_since = None,
            }
        }
        self.line(conversation, message)
    }

    fn line(&self, conversation: u64, message: &Message) -> String {
        let by = match message.from {
            Author::Client => String::new(),
            Author::Operator(id) if id == self.operator => "you: ".to_owned(),
            Author::Operator(id) => format!("operator {id}: "),
        };
        format!("[{conversation}] {by}{}\n", message.text)
    }

    fn ended(&self, ending: Ending) -> String {
        match ending {
            Ending::Client => "the client ended the conversation".to_owned(),
            Ending::Operator(id) if id == self.operator => "you ended the conversation".to_owned(),
            Ending::Operator(id) => format!("operator {id} ended the conversation"),
            Ending::Left => "the client closed the connection".to_owned(),
            Ending::Vanished => "the connection to the client was lost".to_owned(),
            Ending::Server => "the server ended the conversation".to_owned(),
        }
    }

    /// One line for each open conversation.
    fn list(&self, now: f64) -> String {
        let mut text = String::new();
        for (id, OpenConversation { peer, waiting_since }) in &self.open {
            let mark = if self.selected == Some(*id) { "*" } else { " " };
            let waiting = waiting_since
                .map(|since| format!(", waiting for {} s", (now - since).max(0.0).round()))
                .unwrap_or_default();
            writeln!(text, "{mark}[{id}] {peer}{waiting}")
                .expect("writing to a String never fails");
        }
        if text.is_empty() { NO_CONVERSATIONS.to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(id: u64) -> Conversation {
        Conversation {
            id,
            peer: format!("192.0.2.{id}:5"),
            since: 100.0,
            waiting_since: None,
            messages: Vec::new(),
            ending: None,
        }
    }

    fn said(conversation: u64, from: Author, text: &str) -> ToOperator {
        let message = Message { from, at: 100.0, text: text.to_owned() };
        ToOperator::Said { conversation, message }
    }

    fn show(text: &str) -> Action {
        Action::Show(text.to_owned())
    }

    #[test]
    fn a_line_goes_to_the_conversation_that_is_named_selected_or_the_only_one() {
        let (mut console, _) = Console::new(1, &[]);
        assert_eq!(console.parse("hello", 0.0), show("no open conversations\n"));
        console.on_event(&ToOperator::Opened { conversation: conversation(3) });
        let say = |id, text: &str| Action::Say(id, text.to_owned());
        assert_eq!(console.parse("to the only one", 0.0), say(3, "to the only one"));
        console.on_event(&ToOperator::Opened { conversation: conversation(4) });
        assert!(
            matches!(console.parse("to whom", 0.0), Action::Show(text) if text.contains("[4]"))
        );
        assert_eq!(console.parse("@4 you", 0.0), say(4, "you"));
        assert_eq!(console.parse("and again", 0.0), say(4, "and again"));
        assert_eq!(console.parse("@3", 0.0), show("[3] selected\n"));
        assert_eq!(console.parse("now you", 0.0), say(3, "now you"));
        assert_eq!(console.parse("@9 who", 0.0), show("no open conversation 9\n"));
        console.on_event(&ToOperator::Ended { conversation: 3, ending: Ending::Left });
        assert_eq!(console.parse("the one left", 0.0), say(4, "the one left"));
    }

    #[test]
    fn a_client_is_listed_as_waiting_until_an_operator_answers() {
        let (mut console, _) = Console::new(1, &[conversation(3)]);
        console.on_event(&said(3, Author::Client, "anybody?"));
        console.on_event(&said(3, Author::Client, "hello?"));
        assert_eq!(console.parse("@", 112.4), show(" [3] 192.0.2.3:5, waiting for 12 s\n"));
        console.on_event(&said(3, Author::Operator(2), "yes"));
        assert_eq!(console.parse("@", 112.4), show(" [3] 192.0.2.3:5\n"));
    }

    #[test]
    fn every_event_is_shown_with_its_conversation() {
        let (mut console, _) = Console::new(1, &[]);
        let opened = ToOperator::Opened { conversation: conversation(3) };
        for (event, shown) in [
            (opened, "[3] 192.0.2.3:5 connected\n"),
            (said(3, Author::Client, "hi"), "[3] hi\n"),
            (said(3, Author::Operator(1), "hello"), "[3] you: hello\n"),
            (said(3, Author::Operator(2), "hello"), "[3] operator 2: hello\n"),
            (
                ToOperator::Ended { conversation: 3, ending: Ending::Vanished },
                "[3] the connection to the client was lost\n",
            ),
            (ToOperator::Error { text: "no".to_owned() }, "no\n"),
        ] {
            assert_eq!(console.on_event(&event), shown);
        }
    }
}
