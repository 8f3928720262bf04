//! The operator protocol of the `chat` service on `/ws/operator`: one JSON object in each text
//! message.
//!
//! The operator first sends [`FromOperator::Token`]. If the token is right, the server sends
//! [`ToOperator::Welcome`] with the current state, and from then on each change, including those
//! that other operators cause.

use serde::{Deserialize, Serialize};

/// The message that ends a conversation, from either side.
pub const BYE: &str = "bye";

/// A message from an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum FromOperator {
    /// Authentication. After a wrong token the server sends an error and closes.
    Token {
        /// The operator token.
        token: String,
    },
    /// A message to a client. The text [`BYE`] ends the conversation.
    Say {
        /// The number of the conversation.
        conversation: u64,
        /// The text, one line.
        text: String,
    },
}

/// A message to an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ToOperator {
    /// The token is right; the current state follows.
    Welcome {
        /// The number of this operator.
        operator: u64,
        /// The conversations that are open or ended recently, oldest first.
        conversations: Vec<Conversation>,
    },
    /// A client has connected.
    Opened {
        /// Its conversation, with the messages so far of one that began at another replica.
        conversation: Conversation,
    },
    /// A new message.
    Said {
        /// The number of the conversation.
        conversation: u64,
        /// The message.
        message: Message,
    },
    /// A conversation has ended.
    Ended {
        /// The number of the conversation.
        conversation: u64,
        /// The way in which the conversation ended.
        ending: Ending,
    },
    /// A request of this operator failed.
    Error {
        /// The reason, one line.
        text: String,
    },
}

/// A conversation of a client with the operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The number, from 1.
    pub id: u64,
    /// The address of the client, or another description.
    pub peer: String,
    /// The time of its start, in seconds since 1970.
    pub since: f64,
    /// The time since when the client waits for a reply, in seconds since 1970; null if it does
    /// not wait.
    pub waiting_since: Option<f64>,
    /// The latest messages, oldest first.
    pub messages: Vec<Message>,
    /// The way in which the conversation ended; null while it is open.
    pub ending: Option<Ending>,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub from: Author,
    /// The time, in seconds since 1970.
    pub at: f64,
    /// The text: one line without its line ending. Invalid UTF-8 is shown as `\xNN`.
    pub text: String,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// The client.
    Client,
    /// The operator with that number.
    Operator(u64),
}

/// The way in which a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The client said [`BYE`].
    Client,
    /// The operator with that number said [`BYE`].
    Operator(u64),
    /// The client closed its connection without [`BYE`].
    Left,
    /// The client's connection failed.
    Vanished,
    /// The server shut down, or the client exceeded the idle timeout.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_an_object_with_its_type() {
        let say = FromOperator::Say { conversation: 3, text: "hello".into() };
        let json = r#"{"type":"say","conversation":3,"text":"hello"}"#;
        assert_eq!(serde_json::to_string(&say).unwrap(), json);
        assert_eq!(serde_json::from_str::<FromOperator>(json).unwrap(), say);
        let message = Message { from: Author::Operator(2), at: 1.5, text: "hi".into() };
        let said = ToOperator::Said { conversation: 3, message };
        let json = r#"{"type":"said","conversation":3,"message":{"from":{"operator":2},"at":1.5,"text":"hi"}}"#;
        assert_eq!(serde_json::to_string(&said).unwrap(), json);
        assert_eq!(serde_json::from_str::<ToOperator>(json).unwrap(), said);
    }

    #[test]
    fn an_unknown_message_of_an_operator_is_refused() {
        for json in [r#"{"type":"token"}"#, r#"{"type":"kill","conversation":1}"#, "[]", "say"] {
            serde_json::from_str::<FromOperator>(json).unwrap_err();
        }
    }
}
