//! An operator of the `chat` service: the conversations as the server reports them, and the
//! operator's messages.

use echogate_proto::chat::{Author, Conversation, FromOperator, ToOperator};

/// The state of an operator.
#[derive(Debug, Default)]
pub struct Operator {
    sign_in: SignIn,
    conversations: Vec<Conversation>,
    chosen: Option<u64>,
    /// Conversations with messages that the operator has not seen.
    unread: Vec<u64>,
    error: Option<String>,
}

/// The progress of signing in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SignIn {
    /// There is no connection.
    #[default]
    SignedOut,
    /// The token has not been accepted yet.
    SigningIn,
    /// The token was accepted; the operator's number.
    SignedIn(u64),
    /// The token was wrong.
    WrongToken,
    /// The connection ended; the reason in a sentence.
    Disconnected(String),
}

impl Operator {
    /// The most conversations; beyond it the oldest ended one is removed.
    pub const MAX: usize = 500;
    /// The most messages of a conversation.
    pub const MAX_MESSAGES: usize = 1000;

    /// Starts anew, with a connection that is being opened.
    pub fn signing_in(&mut self) {
        *self = Operator { sign_in: SignIn::SigningIn, ..Operator::default() };
    }

    /// Handles the end of the connection; `refused` if the server may have refused the token.
    pub fn ended(&mut self, refused: bool, sentence: String) {
        self.sign_in = if refused && self.sign_in == SignIn::SigningIn {
            SignIn::WrongToken
        } else {
            SignIn::Disconnected(sentence)
        };
    }

    /// Signs out and forgets all conversations.
    pub fn sign_out(&mut self) {
        *self = Operator::default();
    }

    /// Applies a message from the server.
    pub fn apply(&mut self, message: ToOperator) {
        match message {
            ToOperator::Welcome { operator, conversations } => {
                self.sign_in = SignIn::SignedIn(operator);
                self.conversations = conversations;
                let longest_waiting = self.waiting().next().map(|conversation| conversation.id);
                self.chosen = longest_waiting;
            }
            ToOperator::Opened { conversation } => {
                self.unread.push(conversation.id);
                self.conversations.push(conversation);
                self.keep_within_bounds();
            }
            ToOperator::Said { conversation: id, message } => {
                let of_client = message.from == Author::Client;
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
            ToOperator::Ended { conversation: id, ending } => {
                if let Some(conversation) = self.find_mut(id) {
                    conversation.ending = Some(ending);
                    conversation.waiting_since = None;
                    if conversation.messages.is_empty() {
                        self.unread.retain(|&unread| unread != id);
                    }
                }
            }
            ToOperator::Error { text } => self.error = Some(text),
        }
    }

    /// Selects a conversation.
    pub fn choose(&mut self, id: u64) {
        if self.conversations.iter().any(|conversation| conversation.id == id) {
            self.chosen = Some(id);
            self.unread.retain(|&unread| unread != id);
        }
    }

    /// The message that sends this text, as one line, to the selected conversation; `None` if that
    /// has ended or the text is empty.
    pub fn say(&mut self, text: &str) -> Option<FromOperator> {
        let conversation = self.chosen()?;
        let text = text.trim().replace(['\r', '\n'], " ");
        let possible = conversation.ending.is_none() && !text.is_empty() && self.is_signed_in();
        let conversation = conversation.id;
        self.error = None;
        possible.then_some(FromOperator::Say { conversation, text })
    }

    /// The progress of signing in.
    pub fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// Whether the server has accepted the token.
    pub fn is_signed_in(&self) -> bool {
        matches!(self.sign_in, SignIn::SignedIn(_))
    }

    /// The server's last error message.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The selected conversation.
    pub fn chosen(&self) -> Option<&Conversation> {
        self.conversations.iter().find(|conversation| Some(conversation.id) == self.chosen)
    }

    /// Whether a conversation has messages that the operator has not seen.
    pub fn is_unread(&self, id: u64) -> bool {
        self.unread.contains(&id)
    }

    /// All conversations by urgency: first those that wait, the longest first; then the answered
    /// ones; then those that have ended, the latest first.
    pub fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        let answered = self.conversations.iter().filter(|conversation| {
            conversation.ending.is_none() && conversation.waiting_since.is_none()
        });
        let ended = self.conversations.iter().rev().filter(|it| it.ending.is_some());
        self.waiting().chain(answered).chain(ended)
    }

    /// The number of conversations that wait for an answer of this operator; 0 without a connection.
    pub fn waiting_count(&self) -> usize {
        match self.is_signed_in() {
            true => self.conversations.iter().filter(|it| is_waiting(it)).count(),
            false => 0,
        }
    }

    /// The conversations that wait for an answer, the longest first.
    fn waiting(&self) -> impl Iterator<Item = &Conversation> {
        let since = |conversation: &&Conversation| conversation.waiting_since;
        let mut waiting: Vec<&Conversation> = Vec::new();
        // A sort would add more to the page's size.
        for conversation in self.conversations.iter().filter(|it| is_waiting(it)) {
            let at = waiting.partition_point(|it| since(it) <= since(&conversation));
            waiting.insert(at, conversation);
        }
        waiting.into_iter()
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Conversation> {
        self.conversations.iter_mut().find(|conversation| conversation.id == id)
    }

    fn keep_within_bounds(&mut self) {
        if self.conversations.len() > Self::MAX {
            let ended = self.conversations.iter().position(|it| it.ending.is_some());
            let gone = self.conversations.remove(ended.unwrap_or(0));
            self.unread.retain(|&unread| unread != gone.id);
        }
    }
}

fn is_waiting(conversation: &Conversation) -> bool {
    conversation.ending.is_none() && conversation.waiting_since.is_some()
}

#[cfg(test)]
mod tests;
