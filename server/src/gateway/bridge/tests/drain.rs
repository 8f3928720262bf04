//! The server's shutdown.

use echogate_event_loop::InFlight;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_quiet_client_gets_a_close_at_the_beginning_of_a_drain() {
    let mut rig = rig(Framing::Message);
    sleep(Duration::from_millis(1)).await;
    rig.drain.advance(Stage::Graceful);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
    // Messages before the client's answer are still relayed to the upstream.
    rig.client.write_all(&frame(0x82, b"last")).await.unwrap();
    rig.client.write_all(&client_close(1001)).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"last");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the upstream too");
    assert_eq!(rig.end().await, (1001, "the server is shutting down".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_begins_in_a_drain_ends_as_well() {
    let mut rig = rig(Framing::Message);
    // Before the bridge is polled.
    rig.drain.advance(Stage::Graceful);
    rig.client = duplex(1).0;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_replies_and_incomplete_messages() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"ab")).await.unwrap();
    rig.at_upstream(2).await;
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(1)).await;
    rig.client.write_all(&frame(0x01, b"c")).await.unwrap();
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    assert_eq!(rig.at_upstream(1).await, b"c");
    rig.upstream.write_all(b"C").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x01, 1, b'C']);
    sleep(Duration::from_secs(1)).await;
    rig.client.write_all(&frame(0x80, b"d")).await.unwrap();
    assert_eq!(rig.at_upstream(1).await, b"d");
    rig.upstream.write_all(b"D").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x80, 1, b'D']);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
}

#[tokio::test(start_paused = true)]
async fn an_immediate_drain_ends_within_a_reply() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&[frame(0x82, b"ab"), frame(0x82, b"cd")].concat()).await.unwrap();
    rig.at_upstream(4).await;
    rig.upstream.write_all(b"A").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x02, 1, b'A']);
    rig.drain.advance(Stage::Immediate);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_cuts_everything_off() {
    let mut rig = rig_with(Framing::Bytes, 100, b"");
    rig.client.write_all(&frame(0x82, &[7; 90])).await.unwrap();
    rig.client.write_all(&frame(0x82, &[7; 90])).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Cut);
    assert_eq!(
        rig.end().await,
        (1006, "cut off at the end of the shutdown (--drain)".to_owned(), 1)
    );
}

/// The framings that count no replies.
const UNCOUNTED: [Framing; 4] = [Framing::Bytes, Framing::Text, Framing::Line, Framing::Length];

/// A message of a text, the same in bytes of the stream for each framing but `length`, with its 4 bytes.
fn at_stream(framing: Framing, text: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Length => [&(text.len() as u32).to_be_bytes()[..], text].concat(),
        _ => text.to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_everything_up_to_the_close_of_the_client() {
    for framing in UNCOUNTED {
        let mut rig = rig(framing);
        let (first, second) = (at_stream(framing, b"first\n"), at_stream(framing, b"second\n"));
        rig.upstream.write_all(&first).await.unwrap();
        rig.at_client(2 + 6 - usize::from(framing == Framing::Line)).await;
        rig.drain.advance(Stage::Graceful);
        assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close(), "{framing}");
        rig.client.write_all(&frame(0x81, b"first\n")).await.unwrap();
        assert_eq!(rig.at_upstream(first.len()).await, first, "{framing}");
        sleep(Duration::from_secs(3)).await;
        rig.client.write_all(&frame(0x81, b"second\n")).await.unwrap();
        rig.client.write_all(&client_close(1001)).await.unwrap();
        assert_eq!(rig.at_upstream(second.len()).await, second, "{framing}");
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "{framing}");
        let at_upstream = rig.at_upstream.clone();
        assert_eq!(rig.end().await, (1001, "the server is shutting down".to_owned(), 3));
        assert!(!at_upstream.is_reset(), "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_reply_to_a_client_that_spoke_last() {
    for framing in UNCOUNTED {
        let mut rig = rig(framing);
        let text = at_stream(framing, b"ask\n");
        rig.client.write_all(&frame(0x81, b"ask\n")).await.unwrap();
        assert_eq!(rig.at_upstream(text.len()).await, text, "{framing}");
        rig.drain.advance(Stage::Graceful);
        let early = timeout(Duration::from_secs(15), rig.client.read(&mut [0])).await;
        assert!(early.is_err(), "{framing}: no Close before the reply");
        rig.upstream.write_all(&text).await.unwrap();
        rig.at_client(2 + 4 - usize::from(framing == Framing::Line)).await;
        assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close(), "{framing}");
        assert_eq!(rig.elapsed().as_millis(), 15_500, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_no_client_within_a_record_a_line_or_a_character() {
    for (framing, begun, rest) in [
        (Framing::Length, &b"\0\0\0\x02a"[..], &b"b"[..]),
        (Framing::Length, b"\0\0", b"\0\x01a"),
        (Framing::Line, b"hello", b" world\n"),
        (Framing::Text, b"abc\xc3", b"\xa9"),
    ] {
        let mut rig = rig(framing);
        rig.upstream.write_all(begun).await.unwrap();
        rig.drain.advance(Stage::Graceful);
        sleep(Duration::from_secs(3)).await;
        assert!(!rig.bridge.is_finished());
        rig.upstream.write_all(rest).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(&shutdown_close()) {
            got.extend(rig.at_client(1).await);
        }
        assert_eq!(rig.elapsed().as_millis(), 3500, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_after_the_close_and_does_not_answer_it_resets_the_upstream() {
    let mut rig = rig(Framing::Bytes);
    rig.drain.advance(Stage::Immediate);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
    rig.client.write_all(&frame(0x82, b"more")).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"more");
    rig.at_client.set_in_flight(Some(InFlight::NOTHING));
    let at_upstream = rig.at_upstream.clone();
    rig.end().await;
    assert!(at_upstream.is_reset());
}

#[tokio::test(start_paused = true)]
async fn an_immediate_drain_does_not_wait_for_the_upstream() {
    let mut rig = rig(Framing::Bytes);
    sleep(Duration::from_millis(1)).await;
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(5)).await;
    rig.drain.advance(Stage::Immediate);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
    assert_eq!(rig.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_download_that_a_close_breaks_off_is_counted_and_resets_the_upstream() {
    // In framing `length` a part of a record waits for its end; the length itself is not counted.
    for (framing, early, lost) in
        [(Framing::Bytes, &b""[..], 5), (Framing::Length, b"\0\0\0\x09part", 9)]
    {
        for client_answers in [true, false] {
            let mut rig = rig(framing);
            rig.upstream.write_all(early).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            rig.drain.advance(Stage::Immediate);
            assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
            rig.upstream.write_all(b" late").await.unwrap();
            sleep(Duration::from_millis(1)).await;
            if client_answers {
                rig.client.write_all(&client_close(1001)).await.unwrap();
            }
            let at_upstream = rig.at_upstream.clone();
            let (code, why, _) = rig.end().await;
            let because = "the server is shutting down";
            let expected = format!("{because}; bytes not delivered to the client: {lost}");
            assert_eq!((code, why), (1001, expected), "{framing}");
            assert!(at_upstream.is_reset(), "{framing}");
        }
    }
}

/// Whether the upstream of a client is reset that has its reply and does not answer the Close, of which
/// this is in flight. With a cut, these bytes of the client arrive at the same time.
async fn is_reset(framing: Framing, in_flight: Option<InFlight>, cut: Option<&[u8]>) -> bool {
    let mut rig = rig(framing);
    rig.client.write_all(&frame(0x82, b"ab")).await.unwrap();
    rig.at_upstream(2).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, b"\x82\x02AB");
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Immediate);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
    rig.at_client.set_in_flight(in_flight);
    if let Some(unread) = cut {
        rig.client.write_all(unread).await.unwrap();
        rig.drain.advance(Stage::Cut);
    }
    while rig.upstream.read(&mut [0; 16]).await.unwrap() > 0 {}
    let at_upstream = rig.at_upstream.clone();
    rig.end().await;
    at_upstream.is_reset()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_leaves_a_close_unanswered_does_not_reset_the_upstream() {
    for framing in [Framing::Message, Framing::Bytes] {
        for cut in [None, Some(&[][..])] {
            let at = format!("{framing}, cut: {}", cut.is_some());
            assert!(!is_reset(framing, Some(InFlight::NOTHING), cut).await, "an end: {at}");
            for unknown in [Some(InFlight::unfinished(0)), None] {
                assert!(is_reset(framing, unknown, cut).await, "an abort: {at}");
            }
        }
        let cut = Some(&*frame(0x02, b"begun"));
        assert!(is_reset(framing, Some(InFlight::NOTHING), cut).await, "an abort: {framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_arrives_with_the_cut_ends_the_upstream_in_order() {
    for framing in [Framing::Message, Framing::Bytes] {
        let mut rig = rig(framing);
        // Nothing shows that the end of input has arrived.
        rig.at_upstream.set_in_flight(None);
        rig.client.write_all(&frame(0x88, &[3, 232])).await.unwrap();
        rig.drain.advance(Stage::Cut);
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
        let at_upstream = rig.at_upstream.clone();
        rig.end().await;
        assert!(!at_upstream.is_reset(), "{framing}");
    }
}
