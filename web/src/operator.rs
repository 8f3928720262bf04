//! An operator of the `chat` service: what the server has told, and what can be said.

use echogate_proto::operator::{Conversation, FromOperator, ToOperator};

/// Where an operator stands.
#[derive(Debug, Default)]
pub struct Operator {
    stage: Stage,
    conversations: Vec<Conversation>,
    chosen: Option<u64>,
    /// Conversations with something in them that was not looked at.
    unread: Vec<u64>,
    problem: Option<String>,
}

/// How far an operator has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is no connection.
    #[default]
    Away,
    /// The token is not yet accepted.
    Knocking,
    /// In, under this number.
    In(u64),
    /// The token was wrong.
    Refused,
    /// The connection ended; how, in a sentence.
    Lost(String),
}

impl Operator {
    /// The most conversations that are remembered; of those beyond it the oldest that have
    /// ended go.
    pub const MAX: usize = 500;
    /// The most messages of a conversation that are remembered.
    pub const MAX_MESSAGES: usize = 1000;

    /// A connection is being made.
    pub fn knock(&mut self) {
        *self = Operator { stage: Stage::Knocking, ..Operator::default() };
    }

    /// The connection is open: what to say first.
    pub fn opened(&self, token: &str) -> FromOperator {
        FromOperator::Token { token: token.to_owned() }
    }

    /// The connection is over; `refused` if the server said that it is for the token.
    pub fn ended(&mut self, refused: bool, sentence: String) {
        self.stage = if refused && self.stage == Stage::Knocking {
            Stage::Refused
        } else {
            Stage::Lost(sentence)
        };
    }

    /// Somebody left.
    pub fn left(&mut self) {
        *self = Operator::default();
    }

    /// Takes in what the server says.
    pub fn take(&mut self, message: ToOperator) {
        match message {
            ToOperator::Welcome { operator, conversations } => {
                self.stage = Stage::In(operator);
                self.conversations = conversations;
                let first = self.waiting().next().map(|conversation| conversation.id);
                self.chosen = first;
            }
            ToOperator::Opened { conversation } => {
                self.unread.push(conversation.id);
                self.conversations.push(conversation);
                self.keep_within_bounds();
            }
            ToOperator::Said { conversation: id, message } => {
                use echogate_proto::operator::From;
                let of_client = message.from == From::Client;
                let chosen = self.chosen == Some(id);
                if let Some(conversation) = self.find_mut(id) {
                    if !of_client {
                        conversation.waiting_since = None;
                    } else if conversation.waiting_since.is_none() {
                        conversation.waiting_since = Some(message.at);
                    }
                    conversation.messages.push(message);
                    let surplus = conversation.messages.len().saturating_sub(Self::MAX_MESSAGES);
                    conversation.messages.drain(..surplus);
                    if of_client && !chosen && !self.unread.contains(&id) {
                        self.unread.push(id);
                    }
                }
            }
            ToOperator::Ended { conversation, ending } => {
                if let Some(conversation) = self.find_mut(conversation) {
                    conversation.ending = Some(ending);
                    conversation.waiting_since = None;
                }
            }
            ToOperator::Error { text } => self.problem = Some(text),
        }
    }

    /// Looks at a conversation.
    pub fn choose(&mut self, id: u64) {
        if self.conversations.iter().any(|conversation| conversation.id == id) {
            self.chosen = Some(id);
            self.unread.retain(|&unread| unread != id);
        }
    }

    /// What to send to say this line in the conversation that is looked at; `None` if that one
    /// has ended, or there is nothing to say.
    pub fn say(&mut self, text: &str) -> Option<FromOperator> {
        let conversation = self.chosen()?;
        let text: String = text.trim().split(['\r', '\n']).collect::<Vec<_>>().join(" ");
        let possible = conversation.ending.is_none() && !text.is_empty() && self.is_in();
        let conversation = conversation.id;
        self.problem = None;
        possible.then_some(FromOperator::Say { conversation, text })
    }

    /// How far it has come.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Whether the server has let this operator in.
    pub fn is_in(&self) -> bool {
        matches!(self.stage, Stage::In(_))
    }

    /// What could not be done, in the server's words.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The conversation that is looked at.
    pub fn chosen(&self) -> Option<&Conversation> {
        self.conversations.iter().find(|conversation| Some(conversation.id) == self.chosen)
    }

    /// Whether something was said there that was not looked at.
    pub fn is_unread(&self, id: u64) -> bool {
        self.unread.contains(&id)
    }

    /// All conversations in the order in which they want to be looked at: first those that wait,
    /// the longest first; then those that go on; then those that have ended, the latest first.
    pub fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        let going_on = self.conversations.iter().filter(|conversation| {
            conversation.ending.is_none() && conversation.waiting_since.is_none()
        });
        let over = self.conversations.iter().rev().filter(|it| it.ending.is_some());
        self.waiting().chain(going_on).chain(over)
    }

    fn waiting(&self) -> impl Iterator<Item = &Conversation> {
        let since = |conversation: &&Conversation| conversation.waiting_since;
        let mut waiting: Vec<&Conversation> = self
            .conversations
            .iter()
            .filter(|it| it.ending.is_none() && since(it).is_some())
            .collect();
        waiting.sort_unstable_by(|one, other| {
            since(one).partial_cmp(&since(other)).unwrap_or(std::cmp::Ordering::Equal)
        });
        waiting.into_iter()
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Conversation> {
        self.conversations.iter_mut().find(|conversation| conversation.id == id)
    }

    fn keep_within_bounds(&mut self) {
        if self.conversations.len() > Self::MAX {
            let over = self.conversations.iter().position(|it| it.ending.is_some());
            let gone = self.conversations.remove(over.unwrap_or(0));
            self.unread.retain(|&unread| unread != gone.id);
        }
    }
}

#[cfg(test)]
mod tests;
