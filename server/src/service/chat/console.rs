//! The operator's console: what is typed there, and what is shown.
//!
//! ```text
//! @3 text   says text in conversation 3, and selects it
//! @3        selects it
//! text      says text in the selected conversation, or in the only one
//! @         lists the conversations: who waits, since when
//! @?        lists these commands
//! ```

use std::{collections::BTreeMap, fmt::Write};

use echogate_proto::operator::{Conversation, Ending, From, Message, ToOperator};

/// What the console knows.
#[derive(Debug)]
pub(crate) struct Console {
    /// The number of the operator who sits at it.
    operator: u64,
    /// Conversations that go on.
    open: BTreeMap<u64, Talk>,
    selected: Option<u64>,
}

#[derive(Debug)]
struct Talk {
    peer: String,
    waiting_since: Option<f64>,
}

/// What follows from a line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Something is to be shown: whole lines.
    Show(String),
    /// Something is to be said in a conversation.
    Say(u64, String),
}

const COMMANDS: &str = "\
@3 text   say text in conversation 3, and select it
@3        select it
text      say text in the selected conversation, or in the only one
@         list the conversations
bye       ends the conversation that it is said in
@?        shows this
";

impl Console {
    /// With what there is; also gives what is to be shown of it.
    pub(crate) fn new(operator: u64, conversations: &[Conversation]) -> (Console, String) {
        let mut console = Console { operator, open: BTreeMap::new(), selected: None };
        let mut shown = "you answer chat's clients here; @? lists what can be typed\n".to_owned();
        for conversation in conversations.iter().filter(|talk| talk.ending.is_none()) {
            shown += &console.opened(conversation);
        }
        (console, shown)
    }

    /// Takes in what the hub tells; the answer is to be shown.
    pub(crate) fn told(&mut self, event: &ToOperator) -> String {
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

    /// Takes in a line that was typed at `now` (seconds since 1970).
    pub(crate) fn typed(&mut self, line: &str, now: f64) -> Typed {
        let Some(command) = line.strip_prefix('@') else {
            let only =
                || (self.open.len() == 1).then(|| self.open.keys().next().copied()).flatten();
            return match self.selected.or_else(only) {
                Some(conversation) => Typed::Say(conversation, line.to_owned()),
                None if self.open.is_empty() => Typed::Show("nobody is here\n".to_owned()),
                None => Typed::Show(format!("to whom? @NUMBER says it\n{}", self.list(now))),
            };
        };
        let (number, text) = command.split_once(' ').unwrap_or((command, ""));
        let conversation = match (number, number.parse()) {
            ("", _) => return Typed::Show(self.list(now)),
            ("?", _) => return Typed::Show(COMMANDS.to_owned()),
            (_, Ok(id)) if self.open.contains_key(&id) => id,
            (number, _) => {
                return Typed::Show(format!("there is no conversation {number} that goes on\n"));
            }
        };
        self.selected = Some(conversation);
        match text.trim() {
            "" => Typed::Show(format!("[{conversation}] is selected\n")),
            text => Typed::Say(conversation, text.to_owned()),
        }
    }

    fn opened(&mut self, conversation: &Conversation) -> String {
        let Conversation { id, peer, waiting_since, messages, .. } = conversation;
        self.open.insert(*id, Talk { peer: peer.clone(), waiting_since: *waiting_since });
        let mut shown = format!("[{id}] {peer} has come\n");
        for message in messages {
            shown += &self.line(*id, message);
        }
        shown
    }

    fn said(&mut self, conversation: u64, message: &Message) -> String {
        if let Some(talk) = self.open.get_mut(&conversation) {
            match message.from {
                From::Client => talk.waiting_since = talk.waiting_since.or(Some(message.at)),
                From::Operator(_) => talk.waiting_since = None,
            }
        }
        self.line(conversation, message)
    }

    fn line(&self, conversation: u64, message: &Message) -> String {
        let by = match message.from {
            From::Client => String::new(),
            From::Operator(id) if id == self.operator => "you: ".to_owned(),
            From::Operator(id) => format!("operator {id}: "),
        };
        format!("[{conversation}] {by}{}\n", message.text)
    }

    fn ended(&self, ending: Ending) -> String {
        match ending {
            Ending::Client => "the client said bye".to_owned(),
            Ending::Operator(id) if id == self.operator => "ended by you".to_owned(),
            Ending::Operator(id) => format!("ended by operator {id}"),
            Ending::Left => "the client left without a word".to_owned(),
            Ending::Vanished => "the client vanished: its connection broke".to_owned(),
            Ending::Server => "ended by the server".to_owned(),
        }
    }

    /// A line for each conversation that goes on.
    fn list(&self, now: f64) -> String {
        let mut shown = String::new();
        for (id, Talk { peer, waiting_since }) in &self.open {
            let mark = if self.selected == Some(*id) { "*" } else { " " };
            let waits = waiting_since
                .map(|since| format!(", waits for {} s", (now - since).max(0.0).round()))
                .unwrap_or_default();
            writeln!(shown, "{mark}[{id}] {peer}{waits}").expect("a String takes everything");
        }
        if shown.is_empty() { "nobody is here\n".to_owned() } else { shown }
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

    fn said(conversation: u64, from: From, text: &str) -> ToOperator {
        let message = Message { from, at: 100.0, text: text.to_owned() };
        ToOperator::Said { conversation, message }
    }

    fn show(text: &str) -> Typed {
        Typed::Show(text.to_owned())
    }

    #[test]
    fn what_is_said_goes_to_whom_it_is_meant_for() {
        let (mut console, _) = Console::new(1, &[]);
        assert_eq!(console.typed("hello", 0.0), show("nobody is here\n"));
        console.told(&ToOperator::Opened { conversation: conversation(3) });
        let say = |id, text: &str| Typed::Say(id, text.to_owned());
        assert_eq!(console.typed("to the only one", 0.0), say(3, "to the only one"));
        console.told(&ToOperator::Opened { conversation: conversation(4) });
        assert!(matches!(console.typed("to whom", 0.0), Typed::Show(text) if text.contains("[4]")));
        assert_eq!(console.typed("@4 you", 0.0), say(4, "you"));
        assert_eq!(console.typed("and again", 0.0), say(4, "and again"));
        assert_eq!(console.typed("@3", 0.0), show("[3] is selected\n"));
        assert_eq!(console.typed("now you", 0.0), say(3, "now you"));
        assert_eq!(console.typed("@9 who", 0.0), show("there is no conversation 9 that goes on\n"));
        console.told(&ToOperator::Ended { conversation: 3, ending: Ending::Left });
        assert_eq!(console.typed("the one left", 0.0), say(4, "the one left"));
    }

    #[test]
    fn who_waits_is_listed_until_somebody_answers() {
        let (mut console, _) = Console::new(1, &[conversation(3)]);
        console.told(&said(3, From::Client, "anybody?"));
        console.told(&said(3, From::Client, "hello?"));
        assert_eq!(console.typed("@", 112.4), show(" [3] 192.0.2.3:5, waits for 12 s\n"));
        console.told(&said(3, From::Operator(2), "yes"));
        assert_eq!(console.typed("@", 112.4), show(" [3] 192.0.2.3:5\n"));
    }

    #[test]
    fn everything_is_shown_with_its_conversation() {
        let (mut console, _) = Console::new(1, &[]);
        let opened = ToOperator::Opened { conversation: conversation(3) };
        for (event, shown) in [
            (opened, "[3] 192.0.2.3:5 has come\n"),
            (said(3, From::Client, "hi"), "[3] hi\n"),
            (said(3, From::Operator(1), "hello"), "[3] you: hello\n"),
            (said(3, From::Operator(2), "hello"), "[3] operator 2: hello\n"),
            (
                ToOperator::Ended { conversation: 3, ending: Ending::Vanished },
                "[3] the client vanished: its connection broke\n",
            ),
            (ToOperator::Error { text: "no".to_owned() }, "no\n"),
        ] {
            assert_eq!(console.told(&event), shown);
        }
    }
}
