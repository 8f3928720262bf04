//! What the `chat` service's operators and the server say to each other on
//! `/ws/operator`: a JSON object in each text message.
//!
//! The operator begins with [`FromOperator::Token`]; until it is right nothing else is
//! said. Then comes [`ToOperator::Welcome`] with all there is, and after it each
//! thing as it happens, what other operators do included.

use serde::{Deserialize, Serialize};

/// The text that ends a conversation, from either side.
pub const BYE: &str = "bye";

/// What an operator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum FromOperator {
    /// Who it is that speaks. A wrong token is answered with an error and the end.
    Token {
        /// The operator's token.
        token: String,
    },
    /// A message to a client. The text [`BYE`] ends the conversation.
    Say {
        /// The conversation's number.
        conversation: u64,
        /// One line.
        text: String,
    },
}

/// What the server says to an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ToOperator {
    /// The token was right.
    Welcome {
        /// The number by which other operators know this one.
        operator: u64,
        /// All conversations that are open or ended lately, oldest first.
        conversations: Vec<Conversation>,
    },
    /// A client has come.
    Opened {
        /// Its conversation, still without messages.
        conversation: Conversation,
    },
    /// Somebody said something.
    Said {
        /// The conversation's number.
        conversation: u64,
        /// What was said.
        message: Message,
    },
    /// A conversation is over.
    Ended {
        /// The conversation's number.
        conversation: u64,
        /// How.
        ending: Ending,
    },
    /// What was asked for could not be done.
    Error {
        /// Why, in one line.
        text: String,
    },
}

/// A client's conversation with the operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its number, from 1.
    pub id: u64,
    /// The client: its address, or what is known of it.
    pub peer: String,
    /// When it began, in seconds since 1970.
    pub since: f64,
    /// Since when the client waits for an answer, in seconds since 1970; null if it
    /// does not.
    pub waiting_since: Option<f64>,
    /// What was said lately, oldest first.
    pub messages: Vec<Message>,
    /// How it ended; null as long as it goes on.
    pub ending: Option<Ending>,
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub from: From,
    /// When, in seconds since 1970.
    pub at: f64,
    /// One line, without its end. Bytes that are not UTF-8 stand as `\xNN`.
    pub text: String,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// The client.
    Client,
    /// The operator of that number.
    Operator(u64),
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The client said [`BYE`].
    Client,
    /// The operator of that number said [`BYE`].
    Operator(u64),
    /// The client closed its connection without a word.
    Left,
    /// The client's connection broke.
    Vanished,
    /// The server shut down, or the client was silent for too long.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_said_is_an_object_with_its_type() {
        let say = FromOperator::Say { conversation: 3, text: "hello".into() };
        let json = r#"{"type":"say","conversation":3,"text":"hello"}"#;
        assert_eq!(serde_json::to_string(&say).unwrap(), json);
        assert_eq!(serde_json::from_str::<FromOperator>(json).unwrap(), say);
        let message = Message { from: From::Operator(2), at: 1.5, text: "hi".into() };
        let said = ToOperator::Said { conversation: 3, message };
        let json = r#"{"type":"said","conversation":3,"message":{"from":{"operator":2},"at":1.5,"text":"hi"}}"#;
        assert_eq!(serde_json::to_string(&said).unwrap(), json);
        assert_eq!(serde_json::from_str::<ToOperator>(json).unwrap(), said);
    }

    #[test]
    fn what_an_operator_does_not_say_is_refused() {
        for json in [r#"{"type":"token"}"#, r#"{"type":"kill","conversation":1}"#, "[]", "say"] {
            serde_json::from_str::<FromOperator>(json).unwrap_err();
        }
    }
}
