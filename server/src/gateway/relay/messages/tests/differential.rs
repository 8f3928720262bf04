//! Differential tests with tungstenite at both ends.

use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{
            CloseFrame,
            frame::{
                Frame as LibraryFrame,
                coding::{Data, OpCode as Op},
            },
        },
    },
};

use super::*;

/// A step of a peer's script.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Binary(Vec<u8>),
    /// A binary message of this length, or as much of it as the pipe's room allows in some time.
    Large(usize),
    /// A message in these fragments, with a Ping behind each.
    Fragments(bool, Vec<String>),
    Ping(Vec<u8>),
    /// Time passes.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ".{0,40}".prop_map(Step::Text),
        3 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Binary),
        1 => (0..140_000_usize).prop_map(Step::Large),
        2 => (any::<bool>(), proptest::collection::vec(".{0,100}", 1..5))
            .prop_map(|(text, parts)| Step::Fragments(text, parts)),
        1 => proptest::collection::vec(any::<u8>(), 0..125).prop_map(Step::Ping),
        1 => (0..50_u8).prop_map(Step::Wait),
    ]
}

/// Bytes in which losses, repetitions and exchanges show.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..15)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn both_scripts_arrive_as_tungstenite_sent_them(
        scripts in [script(), script()],
        room in prop_oneof![1..20_usize, 100..5_000_usize, Just(1 << 20)],
        code in prop_oneof![Just(1000_u16), 3000..5000_u16],
        reason in ".{0,30}",
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(scripts, room, code, reason));
    }
}

type Library = WebSocketStream<DuplexStream>;

async fn library(end: FarEnd) -> Library {
    use tokio_tungstenite::tungstenite::protocol::Role as LibraryRole;
    let role = match end.role {
        Role::Client => LibraryRole::Client,
        Role::Server => LibraryRole::Server,
    };
    WebSocketStream::from_raw_socket(end.stream, role, None).await
}

/// The messages of a script.
fn messages(script: &[Step]) -> Vec<Message> {
    let messages = script.iter().filter_map(|step| match step {
        Step::Large(len) => Some(Message::binary(pattern(*len))),
        Step::Text(text) => Some(Message::text(text)),
        Step::Binary(bytes) => Some(Message::binary(bytes.clone())),
        Step::Fragments(true, parts) => Some(Message::text(parts.concat())),
        Step::Fragments(false, parts) => Some(Message::binary(parts.concat())),
        Step::Ping(_) | Step::Wait(_) => None,
    });
    messages.collect()
}

/// Sends the messages of a script, and receives those of the other side.
async fn exchange(library: Library, script: Vec<Step>, expected: Vec<Message>) -> Library {
    let (mut to, mut from) = library.split();
    let sending = tokio::spawn(async move {
        for step in script {
            match step {
                Step::Text(text) => to.send(Message::text(text)).await.unwrap(),
                Step::Binary(bytes) => to.send(Message::binary(bytes)).await.unwrap(),
                Step::Large(len) => to.send(Message::binary(pattern(len))).await.unwrap(),
                Step::Ping(payload) => to.send(Message::Ping(payload.into())).await.unwrap(),
                Step::Wait(ms) => sleep(Duration::from_millis(ms.into())).await,
                Step::Fragments(text, parts) => {
                    let last = parts.len() - 1;
                    for (i, part) in parts.into_iter().enumerate() {
                        let opcode = match (i, text) {
                            (0, true) => Data::Text,
                            (0, false) => Data::Binary,
                            _ => Data::Continue,
                        };
                        let frame = LibraryFrame::message(part, Op::Data(opcode), i == last);
                        to.send(Message::Frame(frame)).await.unwrap();
                        to.send(Message::Ping("between".into())).await.unwrap();
                    }
                }
            }
        }
        to
    });
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let message = timeout(HOUR, from.next()).await;
        match message.expect("in time").expect("no end").expect("no error") {
            Message::Pong(_) | Message::Ping(_) => {}
            message => got.push(message),
        }
    }
    assert!(got == expected, "{got:?} and not {expected:?}");
    sending.await.unwrap().reunite(from).unwrap()
}

/// The code and reason of the peer's Close; control frames before it are left out.
async fn received_close(library: &mut Library) -> (u16, String) {
    loop {
        match timeout(HOUR, library.next()).await.expect("in time") {
            Some(Ok(Message::Close(Some(frame)))) => {
                return (frame.code.into(), frame.reason.as_str().to_owned());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?} and no Close"),
        }
    }
}

async fn play(mut scripts: [Vec<Step>; 2], room: usize, code: u16, reason: String) {
    for step in scripts.iter_mut().flatten() {
        if let Step::Large(len) = step {
            *len = (*len).min(room * 1000);
        }
    }
    let [up, down] = scripts;
    let Rig { client, upstream, relay, .. } = rig_with(config(), room, [vec![], vec![]]);
    let (client, upstream) = (library(client).await, library(upstream).await);
    let client = tokio::spawn(exchange(client, up.clone(), messages(&down)));
    let upstream = tokio::spawn(exchange(upstream, down, messages(&up)));
    let (mut client, mut upstream) = (client.await.unwrap(), upstream.await.unwrap());
    let close = CloseFrame { code: code.into(), reason: reason.clone().into() };
    let closing = tokio::spawn(async move {
        client.close(Some(close)).await.unwrap();
        let answer = received_close(&mut client).await;
        assert!(timeout(HOUR, client.next()).await.expect("in time").is_none());
        answer
    });
    assert_eq!(received_close(&mut upstream).await, (code, reason));
    while timeout(HOUR, upstream.next()).await.expect("in time").is_some() {}
    drop(upstream);
    assert_eq!(closing.await.unwrap().0, code, "tungstenite's answer");
    let end = timeout(HOUR, relay).await.expect("it ends").unwrap();
    assert_eq!(end.code.0, code);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bytes at all end in a Close or in nothing, without a panic, and valid frames before them
    /// arrive.
    #[test]
    fn arbitrary_bytes_behind_a_message_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        from_client: bool,
        room in prop_oneof![1..20_usize, Just(4096)],
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async {
                let mut rig = rig_with(config(), room, [vec![], vec![]]);
                let (from, to) = match from_client {
                    true => (&mut rig.client, &mut rig.upstream),
                    false => (&mut rig.upstream, &mut rig.client),
                };
                let sent = [from.frame(BINARY, b"before"), bytes].concat();
                let stream = std::mem::replace(&mut from.stream, duplex(1).0);
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::spawn(async move {
                    write.write_all(&sent).await.ok();
                    write.shutdown().await.ok();
                });
                tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
                let mut got = Vec::new();
                while got.len() < 6 {
                    got.extend(to.frame_in().await.1);
                }
                assert_eq!(got[..6], *b"before");
                to.vanish();
                timeout(HOUR, rig.relay).await.expect("it ends").expect("no panic");
            });
    }
}
