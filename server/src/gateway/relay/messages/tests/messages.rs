//! Messages, their types and their fragments.

use super::*;
use crate::gateway::test_rig::INTERVAL;

#[tokio::test(start_paused = true)]
async fn each_frame_to_the_upstream_has_a_masking_key_of_its_own() {
    let mut rig = rig();
    let sent = rig.client.frame(BINARY, b"same").repeat(100);
    rig.client.write(&sent).await;
    let mut got = vec![0; sent.len()];
    rig.upstream.stream.read_exact(&mut got).await.unwrap();
    let keys: std::collections::HashSet<_> = got.chunks(10).map(|frame| &frame[2..6]).collect();
    assert_eq!(keys.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn fragments_that_arrive_whole_stay_as_they_are() {
    let mut rig = rig();
    let fragments =
        [(TEXT_BEGINS, &b"gr\xc3"[..]), (MORE, b""), (MORE, b"\xbc\xc3"), (LAST, b"\x9fe")];
    let sent: Vec<u8> =
        fragments.iter().flat_map(|(first, part)| rig.client.frame(*first, part)).collect();
    rig.client.write(&sent).await;
    for (first, part) in fragments {
        assert_eq!(rig.upstream.frame_in().await, (first, part.to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn each_part_of_a_frame_passes_when_it_arrives() {
    let mut rig = rig();
    let sent = rig.client.frame(TEXT, b"in parts");
    rig.client.write(&sent[..8]).await;
    assert_eq!(rig.upstream.frame_in().await, (TEXT_BEGINS, b"in".to_vec()));
    rig.client.write(&sent[8..11]).await;
    assert_eq!(rig.upstream.frame_in().await, (MORE, b" pa".to_vec()));
    rig.client.write(&sent[11..]).await;
    assert_eq!(rig.upstream.frame_in().await, (LAST, b"rts".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_message_byte_by_byte_stays_one_message() {
    for with_pause in [false, true] {
        let mut rig = rig_with(config(), 1, [vec![], vec![]]);
        let sent = [rig.upstream.frame(BINARY, &[7; 300]), rig.upstream.frame(TEXT, b"!")].concat();
        let mut upstream = rig.upstream.stream;
        let sending = tokio::spawn(async move {
            for byte in sent {
                upstream.write_all(&[byte]).await.unwrap();
                if with_pause {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            upstream
        });
        assert_eq!(rig.client.message_in().await, (BINARY_BEGINS, vec![7; 300]));
        assert_eq!(rig.client.frame_in().await, (TEXT, b"!".to_vec()));
        sending.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_on_their_side_and_pongs_do_not_pass() {
    let mut rig = rig();
    let frames = [(TEXT_BEGINS, &b"a"[..]), (PING, b"1"), (PONG, b"2"), (LAST, b"b"), (PING, b"3")];
    for side in [Role::Client, Role::Server] {
        let (from, to) = match side {
            Role::Client => (&mut rig.client, &mut rig.upstream),
            Role::Server => (&mut rig.upstream, &mut rig.client),
        };
        let sent: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(side, *first, payload)).collect();
        from.write(&sent).await;
        assert_eq!(to.frame_in().await, (TEXT_BEGINS, b"a".to_vec()));
        assert_eq!(to.frame_in().await, (LAST, b"b".to_vec()));
        assert_eq!(from.frame_in().await, (PONG, b"1".to_vec()));
        assert_eq!(from.frame_in().await, (PONG, b"3".to_vec()));
    }
    // Nothing else was sent.
    assert_eq!(rig.client.frame_in().await, (PING, vec![]));
    assert_eq!(rig.elapsed(), INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn large_payload_between_control_frames_passes() {
    let mut rig = rig_with(config(), 1 << 20, [vec![], vec![]]);
    let payload: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    for role in [Role::Client, Role::Server] {
        let (from, to) = match role {
            Role::Client => (&mut rig.client, &mut rig.upstream),
            Role::Server => (&mut rig.upstream, &mut rig.client),
        };
        let whole = frame(role, BINARY, &payload);
        let sent =
            [&whole[..], &frame(role, PONG, b"?"), &whole, &frame(role, TEXT, b"x")].concat();
        from.write(&sent).await;
        assert!(to.frame_in().await == (BINARY, payload.clone()));
        assert!(to.message_in().await.1 == payload);
        assert_eq!(to.frame_in().await, (TEXT, b"x".to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_read_with_the_handshakes_are_relayed() {
    let ahead = [frame(Role::Client, TEXT, b"early"), frame(Role::Server, TEXT, b"bird")];
    let mut rig = rig_with(config(), 4096, ahead);
    assert_eq!(rig.upstream.frame_in().await, (TEXT, b"early".to_vec()));
    assert_eq!(rig.client.frame_in().await, (TEXT, b"bird".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_begins_in_the_bytes_read_with_the_handshake_is_completed() {
    let whole = frame(Role::Client, TEXT, b"across");
    for cut in 1..whole.len() {
        let mut rig = rig_with(config(), 4096, [whole[..cut].to_vec(), vec![]]);
        tokio::task::yield_now().await;
        rig.client.write(&whole[cut..]).await;
        let (first, payload) = rig.upstream.message_in().await;
        assert_eq!((first & 0x0f, &*payload), (1, &b"across"[..]), "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_frames_in_one_read_all_pass() {
    let mut rig = rig_with(config(), 1 << 20, [vec![], vec![]]);
    let frames = 20_000;
    let sent = rig.client.frame(BINARY, b"").repeat(frames);
    rig.client.write(&sent).await;
    rig.client.send_close(1000, "").await;
    for _ in 0..frames {
        assert_eq!(rig.upstream.frame_in().await, (BINARY, vec![]));
    }
    rig.upstream.gets_close(1000, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_the_other_one_back() {
    let mut rig = rig();
    let mut client = std::mem::replace(&mut rig.client.stream, duplex(1).0);
    let sent = frame(Role::Client, BINARY, &[7; 1000]).repeat(10_000);
    let flood = tokio::spawn(async move {
        let mut written = 0;
        while let Ok(Ok(n)) = timeout(Duration::from_secs(1), client.write(&sent[written..])).await
        {
            written += n;
        }
        written
    });
    let written = flood.await.unwrap();
    assert!(written < 4 * 4096 + 2 * 1008, "{written} bytes were accepted");
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_by_direction() {
    let entry = enter();
    let counted = entry.clone();
    let (client_pipe, mut client) = far_end(4096, Role::Client);
    let (upstream_pipe, mut upstream) = far_end(4096, Role::Server);
    let drain = Drain::new();
    let relay =
        run(client_pipe, upstream_pipe, ReadAhead::default(), config().into(), entry, &drain);
    let relay = tokio::spawn(relay);
    client.send(TEXT_BEGINS, b"abc").await;
    client.send(LAST, b"de").await;
    upstream.frame_in().await;
    upstream.frame_in().await;
    upstream.send(BINARY, b"x").await;
    client.frame_in().await;
    let carried = counted.carried();
    assert_eq!((carried.bytes_received, carried.messages_received), (5, 1));
    assert_eq!((carried.bytes_sent, carried.messages_sent), (1, 1));
    relay.abort();
}
