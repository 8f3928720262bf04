//! Differential tests with tungstenite at both ends.

use futures_util::StreamExt;
use proptest::prelude::*;
use tokio::sync::Barrier;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role as LibraryRole},
    },
};

use super::*;
use crate::gateway::test_rig::{
    in_paused_time,
    script::{self, Step, script},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn both_scripts_arrive_as_tungstenite_sent_them(
        scripts in [script(15), script(15)],
        room in prop_oneof![1..20_usize, 100..5_000_usize, Just(1 << 20)],
        code in prop_oneof![Just(1000_u16), 3000..5000_u16],
        reason in ".{0,30}",
    ) {
        in_paused_time(play(scripts, room, code, reason));
    }
}

type Library = WebSocketStream<DuplexStream>;

async fn library(end: FarEnd) -> Library {
    let role = match end.role {
        Role::Client => LibraryRole::Client,
        Role::Server => LibraryRole::Server,
    };
    WebSocketStream::from_raw_socket(end.stream, role, None).await
}

/// Sends the messages of a script, and receives those of the other side. Reads until both sides have
/// sent everything: a peer that does not read leaves Pings unanswered.
async fn exchange(
    library: Library,
    script: Vec<Step>,
    expected: Vec<Step>,
    both_have_sent: Arc<Barrier>,
) -> Library {
    let expected: Vec<Message> = expected.iter().filter_map(Step::message).collect();
    let (mut to, mut from) = library.split();
    let mut sending = tokio::spawn(async move {
        script::play(&mut to, script).await;
        both_have_sent.wait().await;
        to
    });
    let mut got = Vec::new();
    let to = loop {
        tokio::select! {
            message = timeout(HOUR, from.next()) => {
                match message.expect("in time").expect("no end").expect("no error") {
                    Message::Pong(_) | Message::Ping(_) => {}
                    message => got.push(message),
                }
            }
            to = &mut sending, if got.len() == expected.len() => break to.unwrap(),
        }
    };
    assert!(got == expected, "{got:?} and not {expected:?}");
    to.reunite(from).unwrap()
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
    let both = Arc::new(Barrier::new(2));
    let client = tokio::spawn(exchange(client, up.clone(), down.clone(), both.clone()));
    let upstream = tokio::spawn(exchange(upstream, down, up, both));
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
        in_paused_time(async {
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
