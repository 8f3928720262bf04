//! Half-close: each side ends its input alone.

use super::*;

#[tokio::test(start_paused = true)]
async fn with_half_close_the_client_may_end_first() {
    let mut rig = half_close_rig(Framing::Bytes);
    let sent = [frame(0x82, b"all"), frame(0x82, b"")].concat();
    rig.client.write_all(&sent).await.unwrap();
    assert_eq!(rig.at_upstream(3).await, b"all");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
    sleep(Duration::from_secs(10)).await;
    rig.upstream.write_all(b"late").await.unwrap();
    assert_eq!(rig.at_client(6).await, b"\x82\x04late");
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    rig.gets_close(CloseCode::NORMAL, "both sides ended the stream").await;
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.end().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn with_half_close_the_upstream_may_end_first() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.upstream.write_all(b"all").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(7).await, [&b"\x82\x03all"[..], &END].concat());
    sleep(Duration::from_secs(10)).await;
    rig.client.write_all(&frame(0x81, b"late")).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"late");
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.gets_close(CloseCode::NORMAL, "both sides ended the stream").await;
}

#[tokio::test(start_paused = true)]
async fn with_half_close_fragments_make_no_difference_to_the_end_of_input() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = half_close_rig(framing);
        let empty = [frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")].concat();
        let all = [frame(0x02, b""), frame(0x80, b"all")].concat();
        rig.client.write_all(&[all, empty].concat()).await.unwrap();
        assert_eq!(rig.at_upstream(3).await, b"all", "{framing}");
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input ({framing})");
        rig.upstream.write_all(b"ALL").await.unwrap();
        assert_eq!(rig.at_client(5).await, b"\x82\x03ALL", "{framing}");
        rig.upstream.shutdown().await.unwrap();
        assert_eq!(rig.at_client(2).await, END, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_half_close_nothing_may_follow_the_end() {
    for more in [frame(0x82, b"more"), frame(0x82, b""), frame(0x01, b"")] {
        let mut rig = half_close_rig(Framing::Bytes);
        let sent = [frame(0x82, b""), more].concat();
        rig.client.write_all(&sent).await.unwrap();
        let reason = "a message after the end of input (half-close)";
        rig.gets_close(CloseCode::PROTOCOL_ERROR, reason).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_half_close_an_empty_binary_message_is_one() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    rig.client.write_all(&frame(0x82, b"x")).await.unwrap();
    assert_eq!(rig.at_upstream(1).await, b"x");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_half_closed_connection() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    rig.drain.advance(Stage::Graceful);
    assert_eq!(rig.at_client(shutdown_close().len()).await, shutdown_close());
}

#[tokio::test(start_paused = true)]
async fn after_its_close_the_client_gets_no_end_of_input() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.client.write_all(&client_close(1000)).await.unwrap();
    drop(rig.upstream);
    let mut rest = Vec::new();
    rig.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, close(CloseCode::NORMAL, ""));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_has_ended_its_side_owes_no_replies() {
    let negotiated = Negotiated { config: config(Framing::Message).into(), half_close: true };
    let mut rig = rig_on(negotiated, 4096, b"");
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x82, 0], "the end of the upstream's side");
    let frames = frame(0x82, b"x").repeat(3000);
    let taken = timeout(HOUR, rig.client.write_all(&frames)).await;
    taken.expect("they are taken within the hour").unwrap();
    assert_eq!(rig.at_upstream(3000).await, vec![b'x'; 3000]);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.at_client(4).await[..1], [0x88], "a Close, since both sides have ended");
    assert_eq!(rig.elapsed(), Duration::ZERO);
}
