//! The end of a connection by either side.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_is_answered_at_once_when_nothing_is_owed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&client_close(3000)).await.unwrap();
    assert_eq!(rig.at_client(4).await, close(CloseCode(3000), ""));
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "and the end");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the upstream too");
    assert_eq!(rig.end().await, (3000, "the client closed".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn replies_are_awaited_for_as_long_as_some_arrive_after_each_kind_of_end() {
    let ends = [
        (1500, client_close(1000), close(CloseCode::NORMAL, "")),
        (1500, frame(0x83, b"bad"), close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3")),
        (50_000, vec![], vec![]),
    ];
    for (interval, end, answer) in ends {
        let mut rig = rig(Framing::Message);
        let bytes = [frame(0x81, b"ab").repeat(100), end.clone()].concat();
        rig.client.write_all(&bytes).await.unwrap();
        if end.is_empty() {
            rig.client.shutdown().await.unwrap();
        }
        assert_eq!(rig.at_upstream(200).await, b"ab".repeat(100));
        for _ in 0..100 {
            sleep(Duration::from_millis(interval)).await;
            rig.upstream.write_all(b"AB").await.unwrap();
            assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
        }
        assert_eq!(rig.at_client(answer.len()).await, answer);
        assert_eq!(rig.elapsed().as_millis(), 100 * u128::from(interval));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_its_replies_before_the_answer_to_its_close() {
    let mut rig = rig_with(Framing::Message, 40, b"");
    let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
    let echo = tokio::spawn(async move {
        let mut buf = [0; 10];
        while upstream.read_exact(&mut buf).await.is_ok() {
            upstream.write_all(&buf).await.unwrap();
        }
    });
    let (mut reader, mut writer) = tokio::io::split(rig.client);
    let sent = [frame(0x82, &[7; 10]).repeat(50), client_close(1000)].concat();
    tokio::spawn(async move { writer.write_all(&sent).await });
    for _ in 0..50 {
        sleep(Duration::from_millis(1900)).await;
        let mut reply = [0; 12];
        reader.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, [0x82, 10, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
    }
    let mut last = [0; 4];
    reader.read_exact(&mut last).await.unwrap();
    assert_eq!(last[..], close(CloseCode::NORMAL, ""));
    drop(reader);
    echo.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_ends_is_closed_after_the_grace_time() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = rig(framing);
        let bytes = [frame(0x81, b"ab"), client_close(1000)].concat();
        rig.client.write_all(&bytes).await.unwrap();
        assert_eq!(rig.at_upstream(2).await, b"ab");
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
        assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
        assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 2), "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_sends_forever_is_closed_after_the_grace_time() {
    let mut rig = rig(Framing::Bytes);
    let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
    let chatter = tokio::spawn(async move {
        while upstream.write_all(b"and another thing").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    rig.client.write_all(&client_close(1000)).await.unwrap();
    let mut got = vec![];
    rig.client.read_to_end(&mut got).await.unwrap();
    assert!(got.ends_with(&close(CloseCode::NORMAL, "")), "{}", got.escape_ascii());
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 2));
    chatter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_a_close_is_closed_after_a_timeout() {
    let mut rig = rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    rig.gets_close(CloseCode::NORMAL, "the upstream ended the stream").await;
    let (code, why, seconds) = rig.end().await;
    assert_eq!((code, why.as_str(), seconds), (1000, "the upstream ended the stream", 5));
}

#[tokio::test(start_paused = true)]
async fn the_upstream_of_a_client_that_violates_the_protocol_is_reset_before_the_client_ends() {
    let mut rig = rig_with(Framing::Bytes, 100, b"");
    rig.client.write_all(&[frame(0x82, &[7; 80]), frame(0x83, b"")].concat()).await.unwrap();
    let mut got = Vec::new();
    rig.upstream.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, [7; 80]);
    assert_eq!(rig.elapsed().as_millis(), 200, "the time for replies");
    rig.gets_close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3").await;
    assert_eq!(rig.end().await, (1002, "reserved opcode 3".to_owned(), 5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_a_close_is_closed_at_once() {
    let mut rig = rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    rig.gets_close(CloseCode::NORMAL, "the upstream ended the stream").await;
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.end().await.2, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_and_does_not_read_lets_the_client_end() {
    let mut rig = rig(Framing::Bytes);
    // More than the upstream's stream can hold: the rest waits in the bridge.
    let payload = vec![7; 6000];
    rig.client.write_all(&frame(0x82, &payload[..3000])).await.unwrap();
    rig.client.write_all(&frame(0x82, &payload[..3000])).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.upstream.shutdown().await.unwrap();
    rig.gets_close(CloseCode::NORMAL, "the upstream ended the stream").await;
    // The client's Close is read although the upstream does not read the bytes before it.
    rig.client.write_all(&frame(0x82, b"more")).await.unwrap();
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "the end");
    assert_eq!(rig.elapsed().as_secs(), 0, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_without_a_close_gets_the_replies_that_it_is_owed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"ab")).await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.at_upstream(2).await, b"ab");
    sleep(Duration::from_secs(10)).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "and the end");
    assert_eq!(rig.end().await, (1006, "the client went away without a Close".to_owned(), 10));
}

#[tokio::test(start_paused = true)]
async fn bytes_before_a_close_are_delivered_as_long_as_the_upstream_reads_them() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "it is answered");
    // The upstream reads some bytes every 50 s, long after the client's end.
    for _ in 0..20 {
        sleep(Duration::from_secs(50)).await;
        rig.at_upstream(50).await;
    }
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 1002));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_reads_nothing_is_given_up_and_the_log_says_what_is_lost() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "it is answered");
    let (code, why, seconds) = rig.end().await;
    assert_eq!(code, 1000);
    assert_eq!(why, "the client closed; bytes not delivered to the upstream: 900");
    assert_eq!(seconds, 2 + 60, "after the client's end");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_the_framing_is_still_read_so_that_it_reads_the_rest() {
    let sent = [&[b'x'; 500][..], b"\xff", &[b'y'; 500]].concat();
    let frames = [frame(0x82, &sent), client_close(1000)].concat();
    let Rig { mut client, mut upstream, start, .. } = rig_with(Framing::Text, 100, &frames);
    let client = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
    // The upstream echoes, and reads nothing while its echo is not read.
    let (mut got, mut buf) = (Vec::<u8>::new(), [0; 50]);
    while let Ok(n @ 1..) = upstream.read(&mut buf).await {
        got.extend(&buf[..n]);
        // At the end the echo is not read any more.
        upstream.write_all(&buf[..n]).await.ok();
    }
    assert_eq!(got, sent);
    client.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_with_undelivered_bytes_is_reported_to_the_client() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    sleep(Duration::from_secs(1)).await;
    drop(rig.upstream);
    rig.upstream = duplex(1).0;
    let (code, reason) = (CloseCode::INTERNAL_ERROR, "the upstream reset the connection");
    rig.gets_close(code, reason).await;
    let (code, why, _) = rig.end().await;
    assert_eq!(code, 1011);
    assert_eq!(why, format!("{reason}; bytes not delivered to the upstream: 900"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_floods_after_a_violation_is_closed_after_a_timeout() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let (mut read, mut write) =
            tokio::io::split(std::mem::replace(&mut rig.client, duplex(1).0));
        async move {
            write.write_all(&frame(0x83, b"")).await.unwrap();
            while write.write_all(&[0; 1000]).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            let mut got = vec![];
            read.read_to_end(&mut got).await.unwrap();
            got
        }
    });
    assert_eq!(rig.end().await, (1002, "reserved opcode 3".to_owned(), 5));
    assert_eq!(flood.await.unwrap(), close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3"));
}
