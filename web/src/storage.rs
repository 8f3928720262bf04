//! The settings that survive a reload of the page, as JSON: connections, saved messages, history.
//! Messages of transcripts are not among them.

use crate::{
    composer::{Draft, LineEnding, Mode},
    json::{Json, quote},
    pairing::Pairing,
};

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The connections.
    pub connections: Vec<StoredConnection>,
    /// The index of the chosen connection.
    pub chosen: usize,
    /// The messages that the user saved.
    pub saved: Vec<Draft>,
    /// The latest messages that were sent, oldest first.
    pub history: Vec<Draft>,
}

/// The settings of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredConnection {
    /// The endpoint as it was typed.
    pub endpoint: String,
    /// The subprotocols as they were typed.
    pub protocols: String,
    /// Whether a lost connection is opened again.
    pub reconnect: bool,
    /// The rule for pairing replies, if the user chose one.
    pub pairing: Option<Pairing>,
    /// The line ending of messages.
    pub ending: LineEnding,
    /// Whether a backslash begins an escape sequence.
    pub escapes: bool,
}

/// The version of the format.
const VERSION: u64 = 1;
/// The most connections, saved messages and messages of the history.
const MAX: usize = 50;
/// The longest text of a message that is stored, in bytes.
pub const MAX_TEXT: usize = 4096;

/// Writes the settings. Long messages are left out, and of many the oldest.
pub fn write(stored: &Stored) -> String {
    let chosen = stored.chosen;
    let mut text = format!("{{\"version\":{VERSION},\"chosen\":{chosen},\"connections\":[");
    for (at, it) in stored.connections.iter().take(MAX).enumerate() {
        text.push_str(if at == 0 { "{" } else { ",{" });
        member("endpoint", &it.endpoint, &mut text);
        text.push(',');
        member("protocols", &it.protocols, &mut text);
        if let Some(pairing) = &it.pairing {
            text.push(',');
            member("pairing", pairing.name(), &mut text);
            if let Pairing::Field(field) = pairing {
                text.push(',');
                member("field", field, &mut text);
            }
        }
        text.push(',');
        member("ending", it.ending.name(), &mut text);
        text.push_str(&format!(",\"reconnect\":{},\"escapes\":{}}}", it.reconnect, it.escapes));
    }
    for (name, drafts) in [("saved", &stored.saved), ("history", &stored.history)] {
        text.push_str(&format!("],\"{name}\":["));
        let kept: Vec<_> = drafts.iter().filter(|draft| draft.text.len() <= MAX_TEXT).collect();
        for (at, draft) in kept[kept.len().saturating_sub(MAX)..].iter().enumerate() {
            text.push_str(if at == 0 { "{" } else { ",{" });
            let mode = if draft.mode == Mode::Hex { "hex" } else { "text" };
            member(mode, &draft.text, &mut text);
            text.push(',');
            member("ending", draft.ending.name(), &mut text);
            text.push_str(&format!(",\"escapes\":{}}}", draft.escapes));
        }
    }
    text.push_str("]}");
    text
}

/// Reads the output of [`write()`]; `None` for anything else.
pub fn read(text: &str) -> Option<Stored> {
    let it = Json::read(text)?;
    (it.whole("version")? == VERSION).then_some(())?;
    let is = |it: &Json, name: &str| it.get(name) == Some(&Json::Bool(true));
    let ending = |it: &Json| LineEnding::of_name(it.text("ending").unwrap_or_default());
    let draft = |it: &Json| {
        let (mode, text) = match it.text("hex") {
            Some(digits) => (Mode::Hex, digits),
            None => (Mode::Text, it.text("text")?),
        };
        let text = text.to_owned();
        Some(Draft { mode, text, ending: ending(it), escapes: is(it, "escapes") })
    };
    let connection = |it: &Json| {
        let pairing = it.text("pairing").and_then(Pairing::of_name);
        Some(StoredConnection {
            endpoint: it.text("endpoint")?.to_owned(),
            protocols: it.text("protocols")?.to_owned(),
            reconnect: is(it, "reconnect"),
            pairing: pairing.map(|rule| match (rule, it.text("field")) {
                (Pairing::Field(_), Some(field)) => Pairing::Field(field.to_owned()),
                (rule, _) => rule,
            }),
            ending: ending(it),
            escapes: is(it, "escapes"),
        })
    };
    Some(Stored {
        connections: it.list("connections", connection)?,
        // Settings of earlier versions of the page have none.
        chosen: it.whole("chosen").unwrap_or_default() as usize,
        saved: it.list("saved", draft)?,
        history: it.list("history", draft)?,
    })
}

fn member(name: &str, value: &str, text: &mut String) {
    text.push_str(&format!("\"{name}\":"));
    quote(value, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_draft() -> impl Strategy<Value = Draft> {
        (any::<bool>(), any::<String>(), 0..3usize, any::<bool>()).prop_map(
            |(is_hex, text, ending, escapes)| Draft {
                mode: if is_hex { Mode::Hex } else { Mode::Text },
                text,
                ending: LineEnding::ALL[ending],
                escapes,
            },
        )
    }

    proptest! {
        #[test]
        fn settings_are_read_back_the_same(
            endpoint: String,
            protocols: String,
            flags: (bool, bool),
            field in proptest::option::of(any::<String>()),
            saved in prop::collection::vec(any_draft(), 0..4),
            history in prop::collection::vec(any_draft(), 0..4),
        ) {
            let pairing = field.map(Pairing::Field);
            let ending = LineEnding::CrLf;
            let (reconnect, escapes) = flags;
            let connection =
                StoredConnection { endpoint, protocols, reconnect, pairing, ending, escapes };
            let stored = Stored { connections: vec![connection], chosen: 1, saved, history };
            prop_assert_eq!(read(&write(&stored)), Some(stored));
        }
    }

    #[test]
    fn what_is_stored_is_bounded_and_damage_is_ignored() {
        let long = Draft::text(&"x".repeat(MAX_TEXT + 1));
        let mut history: Vec<_> = (0..99).map(|n| Draft::text(&n.to_string())).collect();
        history.push(long);
        let kept = read(&write(&Stored { history, ..Stored::default() })).unwrap().history;
        assert_eq!(kept.len(), MAX);
        assert_eq!(kept.last(), Some(&Draft::text("98")));
        for damaged in ["", "{}", r#"{"version":2,"connections":[],"saved":[],"history":[]}"#] {
            assert_eq!(read(damaged), None);
        }
    }
}
