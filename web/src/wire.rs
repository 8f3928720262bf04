//! The JSON format of the server's API: reads events and answers into the types of
//! [`echogate_proto`], writes an operator's messages. The tests compare it with the serde
//! implementations that are derived there.

use echogate_proto::{
    api::{
        Carried, Closed, Connection, Endpoints, Event, ForwardInfo, Kind, Legs, ListenerInfo,
        Moved, RouteInfo,
    },
    chat::{Author, Conversation, Ending, FromOperator, Message, ToOperator},
};

use crate::json::{Json, quote};

/// Reads an event of `/api/events`.
pub fn event(text: &str) -> Option<Event> {
    let it = Json::read(text)?;
    let total = it.whole("total")? as usize;
    let missing = it.list("missing", |it| Some(it.as_text()?.into())).unwrap_or_default();
    Some(match it.text("type")? {
        "all" => Event::All { total, connections: it.list("connections", connection)?, missing },
        "changes" => Event::Changes {
            total,
            opened: it.list("opened", connection)?,
            moved: it
                .list("moved", |it| Some(Moved { id: it.whole("id")?, carried: carried(it)? }))?,
            closed: it.list("closed", |it| {
                let end = it.text("end")?.to_owned();
                Some(Closed { id: it.whole("id")?, end, carried: carried(it)? })
            })?,
            missing,
        },
        _ => return None,
    })
}

/// Reads the answer of `/api/endpoints`.
pub fn endpoints(text: &str) -> Option<Endpoints> {
    let it = Json::read(text)?;
    let routes = it.list("routes", |it| {
        Some(RouteInfo {
            path: owned(it, "path")?,
            upstream: owned(it, "upstream")?,
            framing: owned(it, "framing")?,
            protocol: owned(it, "protocol"),
        })
    })?;
    let listeners = it.list("listeners", |it| {
        Some(ListenerInfo { service: owned(it, "service")?, url: owned(it, "url")? })
    })?;
    let forwards = it.list("forwards", |it| {
        Some(ForwardInfo { url: owned(it, "url")?, upstream: owned(it, "upstream")? })
    })?;
    Some(Endpoints { routes, listeners, forwards })
}

/// Reads a message to an operator.
pub fn to_operator(text: &str) -> Option<ToOperator> {
    let it = Json::read(text)?;
    Some(match it.text("type")? {
        "welcome" => ToOperator::Welcome {
            operator: it.whole("operator")?,
            conversations: it.list("conversations", conversation)?,
        },
        "opened" => ToOperator::Opened { conversation: conversation(it.get("conversation")?)? },
        "said" => ToOperator::Said {
            conversation: it.whole("conversation")?,
            message: message(it.get("message")?)?,
        },
        "ended" => ToOperator::Ended {
            conversation: it.whole("conversation")?,
            ending: ending(it.get("ending")?)?,
        },
        "error" => ToOperator::Error { text: owned(&it, "text")? },
        _ => return None,
    })
}

/// Writes a message from an operator.
pub fn from_operator(message: &FromOperator) -> String {
    let mut json = String::new();
    let text = match message {
        FromOperator::Token { token } => {
            json.push_str(r#"{"type":"token","token":"#);
            token
        }
        FromOperator::Say { conversation, text } => {
            json.push_str(&format!(r#"{{"type":"say","conversation":{conversation},"text":"#));
            text
        }
    };
    quote(text, &mut json);
    json + "}"
}

fn connection(it: &Json) -> Option<Connection> {
    Some(Connection {
        id: it.whole("id")?,
        replica: it.text("replica").map(Into::into),
        kind: kind(it.text("kind")?)?,
        peer: owned(it, "peer"),
        target: it.text("target")?.into(),
        label: owned(it, "label"),
        upstream_from: owned(it, "upstream_from"),
        since: it.number("since")?,
        age: it.number("age")?,
        carried: carried(it)?,
    })
}

/// The transport of this name.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn carried(it: &Json) -> Option<Carried> {
    Some(Carried {
        bytes_received: it.whole("bytes_received")?,
        bytes_sent: it.whole("bytes_sent")?,
        messages_received: it.whole("messages_received")?,
        messages_sent: it.whole("messages_sent")?,
        legs: it.get("legs").and_then(legs),
    })
}

fn legs(it: &Json) -> Option<Legs> {
    let received = it.whole("received")?;
    if let Some(service) = it.number("service") {
        return Some(Legs::Service { service, received });
    }
    let (up, upstream) = (it.number("up")?, it.number("upstream")?);
    Some(Legs::Bridge { up, upstream, down: it.number("down")?, received })
}

fn conversation(it: &Json) -> Option<Conversation> {
    Some(Conversation {
        id: it.whole("id")?,
        peer: owned(it, "peer")?,
        since: it.number("since")?,
        waiting_since: it.number("waiting_since"),
        messages: it.list("messages", message)?,
        ending: it.get("ending").and_then(ending),
    })
}

fn message(it: &Json) -> Option<Message> {
    let from = it.get("from")?;
    let from = match from.whole("operator") {
        Some(number) => Author::Operator(number),
        None if from.as_text() == Some("client") => Author::Client,
        None => return None,
    };
    Some(Message { from, at: it.number("at")?, text: owned(it, "text")? })
}

fn ending(it: &Json) -> Option<Ending> {
    if let Some(number) = it.whole("operator") {
        return Some(Ending::Operator(number));
    }
    Some(match it.as_text()? {
        "client" => Ending::Client,
        "left" => Ending::Left,
        "vanished" => Ending::Vanished,
        "server" => Ending::Server,
        _ => return None,
    })
}

fn owned(it: &Json, name: &str) -> Option<String> {
    it.text(name).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::to_string;

    fn a_connection(kind: Kind, legs: Option<Legs>) -> Connection {
        Connection {
            id: 7,
            replica: (kind == Kind::WebSocket).then(|| "b".into()),
            kind,
            peer: Some("127.0.0.1:9".into()),
            target: "/ws".into(),
            label: (kind == Kind::WebSocket).then(|| "page-1".into()),
            upstream_from: None,
            since: 1_700_000_000.25,
            age: 0.5,
            carried: Carried { bytes_received: 5, messages_sent: 2, legs, ..Carried::default() },
        }
    }

    #[test]
    fn events_are_read_as_the_server_writes_them() {
        let service = Some(Legs::Service { service: 12.5, received: 5 });
        let bridge = Some(Legs::Bridge { up: 1.0, upstream: 2.5, down: 3.0, received: 9 });
        let connections: Vec<Connection> =
            Kind::ALL.map(|kind| a_connection(kind, service)).into_iter().collect();
        let carried = a_connection(Kind::Tcp, bridge).carried;
        for sent in [
            Event::All { total: 9, connections: connections.clone(), missing: vec!["c".into()] },
            Event::Changes {
                total: 3,
                opened: connections,
                moved: vec![Moved { id: 1, carried }],
                closed: vec![Closed { id: 2, end: "the client \"left\"".into(), carried }],
                missing: vec![],
            },
        ] {
            assert_eq!(event(&to_string(&sent).unwrap()), Some(sent));
        }
        assert_eq!(event("{}"), None);
    }

    #[test]
    fn endpoints_are_read_as_the_server_writes_them() {
        let route = RouteInfo {
            path: "/ws".into(),
            upstream: "tcp://h:1".into(),
            framing: "line".into(),
            protocol: Some("mqtt".into()),
        };
        let other = RouteInfo { protocol: None, ..route.clone() };
        let listener = ListenerInfo { service: "upper".into(), url: "udp://h:2".into() };
        let forward = ForwardInfo { url: "tcp://h:3".into(), upstream: "wss://h/db".into() };
        let (routes, listeners) = (vec![route, other], vec![listener]);
        let sent = Endpoints { routes, listeners, forwards: vec![forward] };
        assert_eq!(endpoints(&to_string(&sent).unwrap()), Some(sent));
    }

    #[test]
    fn messages_of_operators_are_read_and_written_as_the_server_does() {
        let said = |from| Message { from, at: 1.5, text: "hé".into() };
        let conversation = |ending| Conversation {
            id: 1,
            peer: "h:1".into(),
            since: 1.0,
            waiting_since: Some(2.0),
            messages: vec![said(Author::Client), said(Author::Operator(2))],
            ending,
        };
        let ends =
            [Ending::Client, Ending::Operator(4), Ending::Left, Ending::Vanished, Ending::Server];
        let mut conversations: Vec<Conversation> =
            ends.iter().map(|end| conversation(Some(*end))).collect();
        conversations.push(Conversation { waiting_since: None, ..conversation(None) });
        for sent in [
            ToOperator::Welcome { operator: 1, conversations },
            ToOperator::Opened { conversation: conversation(None) },
            ToOperator::Said { conversation: 1, message: said(Author::Client) },
            ToOperator::Ended { conversation: 1, ending: Ending::Operator(3) },
            ToOperator::Error { text: "no".into() },
        ] {
            assert_eq!(to_operator(&to_string(&sent).unwrap()), Some(sent));
        }
        for said in [
            FromOperator::Token { token: "\"secret\"\n".into() },
            FromOperator::Say { conversation: 9, text: "世界".into() },
        ] {
            let read = serde_json::from_str::<FromOperator>(&from_operator(&said));
            assert_eq!(read.unwrap(), said);
        }
    }
}
