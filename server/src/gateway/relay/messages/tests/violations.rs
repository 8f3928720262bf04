//! Violations of the protocol by either side.

use super::*;

/// Frames that violate the protocol, with the code and reason of the Close that answers them. The
/// first byte and the payload of the violating frame.
const VIOLATIONS: &[(u8, &[u8], u16, &str)] = &[
    (0x83, b"bad", 1002, "reserved opcode 3"),
    (0xc1, b"bad", 1002, "reserved bits are set in a frame header"),
    (LAST, b"bad", 1002, "a continuation frame, but no message to continue"),
    (0x09, b"", 1002, "a control frame is fragmented"),
    (CLOSE, b"\x03\xed", 1002, "close code 1005 may not be sent"),
    (CLOSE, b"\x03\xee", 1002, "close code 1006 may not be sent"),
    (CLOSE, b"\x03\xf7", 1002, "close code 1015 may not be sent"),
    (CLOSE, b"\x03", 1002, "the payload of a Close frame is a single byte"),
    (CLOSE, b"\x03\xe8\xff", 1007, "a close reason is not valid UTF-8"),
    (TEXT, b"\xff", 1007, "a text message is not valid UTF-8"),
];

#[tokio::test(start_paused = true)]
async fn a_client_that_violates_the_protocol_gets_a_close_and_the_upstream_a_reset() {
    for &(first, payload, code, reason) in VIOLATIONS {
        let mut rig = rig();
        let sent = [rig.client.frame(TEXT, b"before"), rig.client.frame(first, payload)].concat();
        rig.client.write(&sent).await;
        assert_eq!(rig.upstream.frame_in().await, (TEXT, b"before".to_vec()));
        // A reply in time is relayed before the Close.
        sleep(Duration::from_millis(100)).await;
        rig.upstream.send(TEXT, b"reply").await;
        assert_eq!(rig.client.frame_in().await, (TEXT, b"reply".to_vec()));
        rig.client.gets_close(code, reason).await;
        assert_eq!(rig.elapsed().as_millis(), 200);
        rig.client.stream.shutdown().await.unwrap();
        rig.upstream.is_reset().await;
        assert_eq!(rig.end().await, (code, reason.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_violates_the_protocol_gets_a_close_and_the_client_1011() {
    for &(first, payload, code, reason) in VIOLATIONS {
        let mut rig = rig();
        let sent =
            [rig.upstream.frame(TEXT, b"before"), rig.upstream.frame(first, payload)].concat();
        rig.upstream.write(&sent).await;
        assert_eq!(rig.client.frame_in().await, (TEXT, b"before".to_vec()));
        let to_client = format!("the upstream violated the protocol: {reason}");
        rig.client.gets_close(1011, &to_client).await;
        rig.upstream.gets_close(code, reason).await;
        assert_eq!(rig.elapsed(), Duration::ZERO);
        // The client's messages before its answer are discarded.
        rig.client.send(TEXT, b"?").await;
        rig.client.send_close(1011, "").await;
        assert_eq!(rig.client.next().await, None);
        rig.upstream.stream.shutdown().await.unwrap();
        assert_eq!(rig.upstream.next().await, None);
        let (code, why) = rig.end().await;
        assert_eq!(code, 1011);
        assert_eq!(why, format!("{to_client}; bytes not delivered to the upstream: 1"));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_with_the_wrong_mask_are_violations() {
    let mut rig = rig();
    rig.client.write(&frame(Role::Server, TEXT, b"not masked")).await;
    rig.client.gets_close(1002, "a frame is not masked").await;
    let mut rig = super::rig();
    rig.upstream.write(&frame(Role::Client, TEXT, b"masked")).await;
    rig.upstream.gets_close(1002, "a frame is masked").await;
    rig.client.gets_close(1011, "the upstream violated the protocol: a frame is masked").await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_refused_in_both_directions() {
    let limited = BridgeConfig { max_message: 1000, ..config() };
    let reason = "a message is larger than 1000 bytes";
    let mut rig = rig_with(limited, 4096, [vec![], vec![]]);
    rig.client.send(BINARY, &[7; 1000]).await;
    assert_eq!(rig.upstream.frame_in().await, (BINARY, vec![7; 1000]));
    rig.client.send(BINARY, &[7; 1001]).await;
    rig.client.gets_close(1009, reason).await;
    rig.client.vanish();
    rig.upstream.is_reset().await;
    let mut rig = rig_with(limited, 4096, [vec![], vec![]]);
    rig.upstream.send(BINARY_BEGINS, &[7; 1000]).await;
    assert_eq!(rig.client.frame_in().await, (BINARY_BEGINS, vec![7; 1000]));
    rig.upstream.send(LAST, &[7; 1]).await;
    rig.client.gets_close(1011, "the upstream sent a message of more than 1000 bytes").await;
    rig.upstream.gets_close(1009, reason).await;
}

#[tokio::test(start_paused = true)]
async fn the_invalid_part_of_a_text_message_does_not_pass() {
    let mut rig = rig();
    rig.client.send(TEXT_BEGINS, b"valid").await;
    assert_eq!(rig.upstream.frame_in().await, (TEXT_BEGINS, b"valid".to_vec()));
    rig.client.send(LAST, b"\xc0").await;
    rig.client.gets_close(1007, "a text message is not valid UTF-8").await;
    rig.client.vanish();
    rig.upstream.is_reset().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_a_violation_are_discarded() {
    let mut rig = rig();
    let bytes = [rig.client.frame(0x83, b""), vec![0xff; 100_000]].concat();
    rig.client.write(&bytes).await;
    rig.client.stream.shutdown().await.unwrap();
    rig.client.is_closed_by(1002, "reserved opcode 3").await;
    rig.upstream.is_reset().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_violates_the_protocol_and_stays_is_dropped_after_a_timeout() {
    let mut rig = rig();
    rig.client.send(0x83, b"").await;
    rig.upstream.is_reset().await;
    assert_eq!(rig.elapsed().as_millis(), 200, "the time for replies");
    rig.client.is_closed_by(1002, "reserved opcode 3").await;
    let start = rig.start;
    assert_eq!(rig.end().await.0, 1002);
    assert_eq!(start.elapsed().as_millis(), 5200);
}
