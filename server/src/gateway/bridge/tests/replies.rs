//! Messages and their replies.

use echogate_proto::ws::{OpCode, Violation, frame::control_frame};

use super::*;

#[tokio::test(start_paused = true)]
async fn control_frames_pass_between_the_parts_of_a_reply() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x82, &[7; 100])).await.unwrap();
    rig.at_upstream(100).await;
    // Half of the reply, then a long pause.
    rig.upstream.write_all(&[7; 50]).await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x02, 50], "a fragment of what has come");
    rig.at_client(50).await;
    assert_eq!(rig.at_client(2).await, PING);
    rig.client.write_all(&PONG).await.unwrap();
    rig.client.write_all(&frame(0x89, b"?")).await.unwrap();
    assert_eq!(rig.at_client(3).await, control_frame(OpCode::Pong, b"?"));
    rig.upstream.write_all(&[7; 50]).await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x80, 50], "the last fragment");
    rig.at_client(50).await;
}

#[tokio::test(start_paused = true)]
async fn each_ping_of_a_batch_is_answered_in_order() {
    let mut rig = rig(Framing::Message);
    let pings: Vec<u8> = (0..10).flat_map(|n| frame(0x89, &[n])).collect();
    rig.client.write_all(&pings).await.unwrap();
    let pongs: Vec<u8> = (0..10).flat_map(|n| control_frame(OpCode::Pong, &[n])).collect();
    assert_eq!(rig.at_client(pongs.len()).await, pongs);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_turns_out_not_to_be_text_is_never_completed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"abcdef")).await.unwrap();
    rig.at_upstream(6).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x01, 2, b'A', b'B']);
    // An invalid byte within the reply, then as many valid ones as would complete it.
    rig.upstream.write_all(b"\xff").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.upstream.write_all(b"CDEF").await.ok();
    let mut rest = vec![];
    rig.client.read_to_end(&mut rest).await.unwrap();
    let expected =
        close(CloseCode::INVALID_PAYLOAD, "the upstream sent text that is not valid UTF-8");
    assert_eq!(rest, expected, "nothing that could pass for the rest of the reply");
    assert_eq!(rig.end().await.0, 1007);
}

#[tokio::test(start_paused = true)]
async fn a_character_that_an_empty_last_fragment_cuts_off_is_an_error() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x01, b"a")).await.unwrap();
    rig.at_upstream(1).await;
    // The first byte of a longer character instead of a letter.
    rig.upstream.write_all(b"\xe2").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x01, 1, 0xe2]);
    let expected =
        close(CloseCode::INVALID_PAYLOAD, "the upstream sent text that is not valid UTF-8");
    rig.client.write_all(&frame(0x80, b"")).await.unwrap();
    assert_eq!(rig.at_client(expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn bytes_read_with_the_handshake_come_first() {
    let read_ahead = [frame(0x81, b"one "), frame(0x81, b"two ")].concat();
    for cut in 0..=read_ahead.len() {
        let mut rig = rig_with(Framing::Message, 4096, &read_ahead[..cut]);
        rig.client.write_all(&read_ahead[cut..]).await.unwrap();
        rig.client.write_all(&frame(0x81, b"three")).await.unwrap();
        assert_eq!(rig.at_upstream(13).await, b"one two three", "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_arrives_byte_by_byte_is_one_frame() {
    let mut rig = rig(Framing::Message);
    let message = vec![7; 3000];
    rig.client.write_all(&frame(0x82, &message)).await.unwrap();
    rig.at_upstream(message.len()).await;
    for byte in message.chunks(1) {
        rig.upstream.write_all(byte).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    let expected = [&[0x82, 126, 0x0b, 0xb8], &message[..]].concat();
    assert_eq!(rig.at_client(expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn no_reply_is_awaited_to_what_is_missing_of_a_frame_at_a_violation() {
    let invalid = close(CloseCode::INVALID_PAYLOAD, &Violation::InvalidUtf8.to_string());
    // A continuation frame that is forwarded in no part, and one that is forwarded in part.
    for (forwarded, rest) in [(&b""[..], &b"\xff"[..]), (b"cd", b"\xffe")] {
        let mut rig = rig(Framing::Message);
        rig.client.write_all(&frame(0x01, b"ab")).await.unwrap();
        assert_eq!(rig.at_upstream(2).await, b"ab");
        let last = frame(0x80, &[forwarded, rest].concat());
        let (begin, end) = last.split_at(6 + forwarded.len());
        rig.client.write_all(begin).await.unwrap();
        assert_eq!(rig.at_upstream(forwarded.len()).await, forwarded);
        rig.client.write_all(end).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        rig.upstream.write_all(&[&b"AB"[..], forwarded].concat()).await.unwrap();
        assert_eq!(rig.at_client(4).await, [0x01, 2, b'A', b'B']);
        if !forwarded.is_empty() {
            assert_eq!(rig.at_client(4).await, [0x00, 2, b'c', b'd'], "a part of the message");
        }
        assert_eq!(rig.at_client(invalid.len()).await, invalid);
        assert_eq!(rig.elapsed().as_secs(), 0, "nothing is waited for");
    }
}

#[tokio::test(start_paused = true)]
async fn no_reply_is_awaited_to_what_is_missing_of_a_frame_at_the_end_of_the_client() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x82, b"abcd")[..8]).await.unwrap();
    assert_eq!(rig.at_upstream(2).await, b"ab");
    rig.client.shutdown().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x02, 2, b'A', b'B']);
    let (_, _, seconds) = rig.end().await;
    assert_eq!(seconds, 0);
}
