//! The ends of a connection in the client role.

use std::io;

use echogate_proto::ws::FrameHeader;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_gets_what_the_upstream_owes_before_its_close() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.write_all(b"request").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (0x82, b"request".to_vec()));
    rig.upstream.gets_close(1000, "the client ended the stream").await;
    for _ in 0..5 {
        sleep(Duration::from_secs(4)).await;
        rig.upstream.send(0x82, b"reply ").await;
    }
    rig.upstream.send_close(1000, "").await;
    assert_eq!(rig.rest_of_client().await, b"reply ".repeat(5));
    sleep(Duration::from_secs(2)).await;
    assert!(!rig.upstream_sees_end().await, "the server ends the connection first");
    rig.upstream.stream.shutdown().await.unwrap();
    assert!(rig.upstream_sees_end().await);
    assert_eq!(rig.end().await, (1000, "the client ended the stream".to_owned(), false, false));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_end_the_connection_is_not_waited_for_long() {
    let mut rig = client_rig(Framing::Bytes);
    rig.upstream.send_close(1000, "").await;
    rig.upstream.gets_close(1000, "").await;
    assert_eq!(rig.rest_of_client().await, b"");
    assert!(rig.start.elapsed() < Duration::from_millis(1), "the client need not wait");
    let start = rig.start;
    assert_eq!(rig.end().await, (1000, "the upstream closed".to_owned(), false, false));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_reset_at_once_though_the_upstream_does_not_end_the_connection() {
    for (code, violates) in [(1011, false), (1002, true)] {
        let mut rig = client_rig_with(config(Framing::Bytes), false, 100);
        rig.upstream.send(0x82, &[7; 90]).await;
        rig.upstream.send(0x82, &[7; 90]).await;
        match violates {
            true => rig.upstream.write(&frame(0x82, b"masked")).await,
            false => rig.upstream.send_close(code, "").await,
        }
        assert_eq!(rig.rest_of_client().await, [7; 180], "{code}");
        assert_eq!(rig.upstream.frame_in().await.0, 0x88);
        assert!(rig.at_client.is_reset());
        assert!(rig.start.elapsed() < Duration::from_millis(1), "{:?}", rig.start.elapsed());
        assert!(!rig.upstream_sees_end().await, "the upstream is waited for");
        let start = rig.start;
        assert_eq!(rig.end().await.0, code);
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn each_direction_ends_alone_with_half_close() {
    for client_first in [true, false] {
        let mut rig = client_rig_with(config(Framing::Bytes), true, 4096);
        if client_first {
            rig.client.shutdown().await.unwrap();
            assert_eq!(rig.upstream.frame_in().await, (0x82, Vec::new()), "the end of input");
            sleep(HOUR / 1000).await;
            rig.upstream.send(0x82, b"late").await;
            assert_eq!(exactly(&mut rig.client, 4).await, b"late");
            rig.upstream.send(0x82, b"").await;
        } else {
            rig.upstream.send(0x82, b"all").await;
            rig.upstream.send(0x82, b"").await;
            assert_eq!(rig.rest_of_client().await, b"all");
            rig.client.write_all(b"late").await.unwrap();
            assert_eq!(rig.upstream.frame_in().await, (0x82, b"late".to_vec()));
            rig.client.shutdown().await.unwrap();
            assert_eq!(rig.upstream.frame_in().await, (0x82, Vec::new()), "the end of input");
        }
        assert_eq!(rig.rest_of_client().await, b"");
        rig.upstream.gets_close(1000, "both sides ended the stream").await;
        rig.upstream.send_close(1000, "").await;
        rig.upstream.stream.shutdown().await.unwrap();
        let expected = (1000, "both sides ended the stream".to_owned(), false, false);
        assert_eq!(rig.end().await, expected, "client first: {client_first}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_close_in_order_ends_the_client_in_order() {
    for (code, reason, resets, expected) in [
        (1000, "", false, "the upstream closed"),
        (1001, "restart", false, "the upstream closed: restart"),
        (1005, "", false, "the upstream closed"),
        (1011, "disk full", true, "the upstream closed: disk full"),
        (1002, "", true, "the upstream closed"),
        (4001, "a\nb", true, "the upstream closed: a\\nb"),
    ] {
        for half_close in [true, false] {
            let mut rig = client_rig_with(config(Framing::Bytes), half_close, 4096);
            rig.upstream.send(0x82, &[7; 3000]).await;
            if half_close {
                rig.upstream.send(0x82, b"").await;
            }
            rig.upstream.send_close(code, reason).await;
            let payload = if code == 1005 { Vec::new() } else { close_payload(code, "") };
            assert_eq!(rig.upstream.frame_in().await, (0x88, payload), "{code}");
            rig.upstream.stream.shutdown().await.unwrap();
            assert_eq!(rig.rest_of_client().await, [7; 3000]);
            assert_eq!(rig.end().await, (code, expected.to_owned(), resets, false));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_within_a_message_is_no_end_in_order() {
    let mut rig = client_rig(Framing::Bytes);
    rig.upstream.send(0x02, b"half").await;
    rig.upstream.send_close(1000, "").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.rest_of_client().await, b"half");
    assert_eq!(rig.end().await, (1000, "the upstream closed".to_owned(), true, false));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_bytes_come_too_late_for_the_upstream_is_reset() {
    // In framing `length` a part of a record waits for its end; the length itself is not counted.
    for (framing, early, late, lost) in
        [(Framing::Bytes, &b""[..], &b"late"[..], 4), (Framing::Length, b"\0\0\0\x09part", b"", 4)]
    {
        let mut rig = client_rig(framing);
        rig.client.write_all(early).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        rig.upstream.send(0x81, b"last").await;
        rig.upstream.send_close(1000, "").await;
        while rig.upstream.frame_in().await.0 != 0x88 {}
        rig.client.write_all(late).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        rig.upstream.stream.shutdown().await.unwrap();
        assert!(rig.rest_of_client().await.ends_with(b"last"));
        let why = format!("the upstream closed; bytes not delivered to the upstream: {lost}");
        assert_eq!(rig.end().await, (1000, why, true, false), "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_vanishes_resets_the_client_behind_what_it_sent() {
    for (resets, expected) in [
        (false, "the upstream went away without a Close"),
        (true, "the upstream's connection failed"),
    ] {
        let mut rig = client_rig(Framing::Bytes);
        if resets {
            rig.upstream.state.set_read_error(io::ErrorKind::ConnectionReset);
        }
        rig.upstream.send(0x82, &[7; 3000]).await;
        rig.upstream.send(0x02, b"half a message").await;
        rig.upstream.stream.shutdown().await.unwrap();
        assert_eq!(rig.rest_of_client().await, [&[7; 3000][..], b"half a message"].concat());
        assert_eq!(rig.end().await, (1006, expected.to_owned(), true, false));
    }
    let mut rig = client_rig(Framing::Bytes);
    rig.upstream.send(0x82, b"last").await;
    assert_eq!(exactly(&mut rig.client, 4).await, b"last");
    let start = rig.start;
    let expected = (1006, "the upstream did not answer a Ping".to_owned(), true, false);
    assert_eq!(rig.end().await, expected);
    assert_eq!(start.elapsed(), INTERVAL + TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_violates_the_protocol_gets_a_close_and_the_client_a_reset() {
    for (bytes, code, reason) in [
        (frame(0x82, b"masked"), 1002, "a frame is masked"),
        (server_frame(0x81, b"\xff"), 1007, "a text message is not valid UTF-8"),
        (
            FrameHeader::new(OpCode::Binary, true, 1 << 21).as_bytes().to_vec(),
            1009,
            "a message is larger than 1048576 bytes",
        ),
    ] {
        let mut rig = client_rig(Framing::Bytes);
        rig.upstream.send(0x82, b"good").await;
        rig.upstream.write(&bytes).await;
        rig.upstream.gets_close(code, reason).await;
        assert_eq!(exactly(&mut rig.client, 4).await, b"good");
        assert!(!rig.upstream_sees_end().await, "the server ends the connection first");
        rig.upstream.stream.shutdown().await.unwrap();
        let expected = format!("the upstream violated the protocol: {reason}");
        assert_eq!(rig.end().await, (code, expected, true, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_reset_resets_the_upstream_behind_what_it_sent() {
    for half_close in [true, false] {
        let mut rig = client_rig_with(config(Framing::Bytes), half_close, 100);
        rig.at_client.set_read_error(io::ErrorKind::ConnectionReset);
        let mut client = std::mem::replace(&mut rig.client, duplex(1).0);
        let sending = tokio::spawn(async move {
            client.write_all(&[7; 1000]).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut got = Vec::new();
        // The upstream is slow, and still gets everything.
        while got.len() < 1000 {
            sleep(Duration::from_secs(3)).await;
            let (first, payload) = rig.upstream.frame_in().await;
            assert_eq!(first, 0x82);
            got.extend(payload);
        }
        sending.await.unwrap();
        let mut rest = Vec::new();
        rig.upstream.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "no Close");
        let (code, why, _, upstream_reset) = rig.end().await;
        assert_eq!((code, &*why), (1006, "the client reset the connection"));
        assert!(upstream_reset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_fails_after_its_end_of_input_resets_the_upstream() {
    let mut rig = client_rig_with(config(Framing::Bytes), true, 4096);
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (0x82, Vec::new()));
    drop(rig.client);
    rig.client = duplex(1).0;
    rig.upstream.send(0x82, b"late").await;
    let (code, why, _, upstream_reset) = rig.end().await;
    let expected = "the client reset the connection";
    assert_eq!((code, &*why, upstream_reset), (1006, expected, true));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_all_that_comes_before_the_upstreams_close() {
    let mut rig = client_rig_with(config(Framing::Bytes), false, 100);
    rig.client.shutdown().await.unwrap();
    rig.upstream.gets_close(1000, "the client ended the stream").await;
    let mut upstream = std::mem::replace(&mut rig.upstream.stream, duplex(1).0);
    let sending = tokio::spawn(async move {
        for _ in 0..10 {
            upstream.write_all(&server_frame(0x82, &[7; 200])).await.unwrap();
        }
        upstream.write_all(&close(CloseCode::NORMAL, "")).await.unwrap();
        upstream.shutdown().await.unwrap();
        upstream
    });
    for _ in 0..40 {
        sleep(Duration::from_secs(50)).await;
        assert_eq!(exactly(&mut rig.client, 50).await, [7; 50]);
    }
    assert_eq!(rig.rest_of_client().await, b"");
    sending.await.unwrap();
    assert_eq!(rig.end().await, (1000, "the client ended the stream".to_owned(), false, false));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_and_does_not_read_is_given_up() {
    let mut rig = client_rig_with(config(Framing::Bytes), false, 100);
    rig.client.shutdown().await.unwrap();
    rig.upstream.frame_in().await;
    rig.upstream.send(0x82, &[7; 80]).await;
    rig.upstream.send(0x82, &[7; 80]).await;
    let start = rig.start;
    let (code, why, client_reset, _) = rig.end().await;
    assert_eq!(code, 1006);
    assert!(why.ends_with("bytes not delivered to the client: 60"), "{why}");
    assert!(client_reset && start.elapsed() <= Duration::from_secs(70), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_answer_a_close_is_given_up() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.shutdown().await.unwrap();
    rig.upstream.frame_in().await;
    let start = rig.start;
    let expected = (1006, "the client ended the stream; cut off".to_owned(), true, false);
    assert_eq!(rig.end().await, expected);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_a_close_with_a_failure_resets_the_client() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.shutdown().await.unwrap();
    rig.upstream.frame_in().await;
    rig.upstream.send_close(1011, "not stored").await;
    rig.upstream.stream.shutdown().await.unwrap();
    let expected = (1011, "the upstream closed: not stored".to_owned(), true, false);
    assert_eq!(rig.end().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_ends_at_the_beginning_of_a_drain() {
    for (late, resets) in [(&b""[..], false), (b"late", true)] {
        let mut rig = client_rig(Framing::Bytes);
        sleep(Duration::from_millis(1)).await;
        rig.drain.advance(Stage::Graceful);
        rig.upstream.gets_close(1001, "the server is shutting down").await;
        if !late.is_empty() {
            rig.upstream.send(0x82, late).await;
        }
        rig.upstream.send_close(1001, "").await;
        rig.upstream.stream.shutdown().await.unwrap();
        assert_eq!(rig.rest_of_client().await, late);
        let expected = (1001, "the server is shutting down".to_owned(), resets, false);
        assert_eq!(rig.end().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_never_closes_the_upload_of_a_client_that_spoke_last() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.write_all(b"a part").await.unwrap();
    assert_eq!(rig.upstream.frame_in().await.1, b"a part");
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(4)).await;
    rig.drain.advance(Stage::Immediate);
    sleep(Duration::from_secs(4)).await;
    assert!(!rig.bridge.is_finished());
    rig.drain.advance(Stage::Cut);
    let mut rest = Vec::new();
    rig.upstream.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"", "no Close");
    let expected = "cut off at the end of the shutdown (--drain)";
    assert_eq!(rig.end().await, (1006, expected.to_owned(), true, false));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_end_of_a_message_and_a_cut_resets_the_client() {
    let mut rig = client_rig(Framing::Bytes);
    rig.upstream.send(0x02, b"half").await;
    assert_eq!(exactly(&mut rig.client, 4).await, b"half");
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(1)).await;
    assert!(!rig.bridge.is_finished());
    rig.drain.advance(Stage::Cut);
    let expected = "cut off at the end of the shutdown (--drain)";
    assert_eq!(rig.end().await, (1006, expected.to_owned(), true, false));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_in_order() {
    let idle_timeout = Some(Duration::from_secs(10));
    let mut rig =
        client_rig_with(BridgeConfig { idle_timeout, ..config(Framing::Bytes) }, false, 4096);
    rig.upstream.gets_close(1001, "idle timeout (--idle-timeout)").await;
    rig.upstream.send_close(1001, "").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.rest_of_client().await, b"");
    let expected = (1001, "idle timeout (--idle-timeout)".to_owned(), false, false);
    assert_eq!(rig.end().await, expected);
}
