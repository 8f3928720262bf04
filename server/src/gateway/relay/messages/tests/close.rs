//! The closing handshake.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_close_of_the_client_passes_with_its_code_and_reason_and_so_does_the_answer() {
    let mut rig = rig();
    rig.client.send_close(4001, "enough").await;
    rig.upstream.gets_close(4001, "enough").await;
    rig.upstream.send_close(4002, "agreed").await;
    rig.client.is_closed_by(4002, "agreed").await;
    // The upstream, as a server, ends the TCP connection first.
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.upstream.next().await, None);
    assert!(!rig.upstream.resets() && !rig.client.resets());
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.end().await, (4001, "the client closed: enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_close_of_the_upstream_passes_with_its_code_and_reason_and_so_does_the_answer() {
    let mut rig = rig();
    rig.upstream.send_close(4001, "enough").await;
    rig.client.gets_close(4001, "enough").await;
    rig.client.send(TEXT, b"last words").await;
    rig.client.send_close(4002, "agreed").await;
    assert_eq!(rig.client.next().await, None);
    assert_eq!(rig.upstream.frame_in().await, (TEXT, b"last words".to_vec()));
    rig.upstream.gets_close(4002, "agreed").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.upstream.next().await, None);
    assert!(!rig.upstream.resets() && !rig.client.resets());
    assert_eq!(rig.end().await, (4001, "the upstream closed: enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_code_passes_without_a_code() {
    let mut rig = rig();
    rig.client.send(CLOSE, b"").await;
    assert_eq!(rig.upstream.frame_in().await, (CLOSE, vec![]));
    rig.upstream.send(CLOSE, b"").await;
    assert_eq!(rig.client.frame_in().await, (CLOSE, vec![]));
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1005, "the client closed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn closes_that_cross_complete_both_handshakes() {
    let mut rig = rig();
    let close = rig.upstream.frame(CLOSE, &4002_u16.to_be_bytes());
    rig.client.send_close(4001, "").await;
    rig.upstream.write(&close).await;
    rig.upstream.stream.shutdown().await.unwrap();
    rig.client.is_closed_by(4002, "").await;
    rig.upstream.is_closed_by(4001, "").await;
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.end().await.0, 4001);
}

#[tokio::test(start_paused = true)]
async fn messages_behind_the_clients_close_come_from_the_upstream_only() {
    let mut rig = rig();
    let sent = [rig.client.frame(CLOSE, b"\x03\xe8"), rig.client.frame(TEXT, b"too late")].concat();
    rig.client.write(&sent).await;
    rig.upstream.gets_close(1000, "").await;
    rig.upstream.send(TEXT, b"still owed").await;
    assert_eq!(rig.client.frame_in().await, (TEXT, b"still owed".to_vec()));
    rig.upstream.send_close(1000, "").await;
    rig.client.gets_close(1000, "").await;
    rig.client.stream.shutdown().await.unwrap();
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn everything_before_a_close_is_delivered_to_a_slow_upstream_first() {
    let mut rig = rig_with(config(), 100, [vec![], vec![]]);
    let sent =
        [rig.client.frame(BINARY, &[7; 2000]), rig.client.frame(CLOSE, b"\x03\xe8")].concat();
    let writing = tokio::spawn({
        let mut client = std::mem::replace(&mut rig.client.stream, duplex(1).0);
        async move {
            client.write_all(&sent).await.unwrap();
            client
        }
    });
    let mut got = 0;
    let code = loop {
        sleep(Duration::from_secs(2)).await;
        match rig.upstream.frame_in().await {
            (CLOSE, code) => break code,
            (_, part) => got += part.len(),
        }
    };
    assert_eq!((got, code), (2000, close_payload(1000, "")));
    assert!(rig.elapsed() > Duration::from_secs(40));
    rig.client.stream = writing.await.unwrap();
    rig.upstream.send_close(4000, "read it all").await;
    rig.client.is_closed_by(4000, "read it all").await;
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_close_is_not_answered_in_time_gets_its_own_code() {
    let mut rig = rig();
    rig.client.send_close(4001, "enough").await;
    rig.upstream.gets_close(4001, "enough").await;
    rig.client.is_closed_by(4001, "").await;
    assert_eq!(rig.elapsed().as_secs(), 5);
    assert_eq!(rig.upstream.next().await, None, "the upstream too");
    assert!(!rig.upstream.resets(), "it got everything");
    assert_eq!(rig.end().await, (4001, "the client closed: enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_sends_forever_does_not_delay_the_answer_to_a_close() {
    let mut rig = rig();
    let mut upstream = std::mem::replace(&mut rig.upstream.stream, duplex(1).0);
    let chatter = tokio::spawn(async move {
        let message = frame(Role::Server, TEXT, b"and another thing");
        while upstream.write_all(&message).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    rig.client.send_close(1000, "").await;
    while rig.client.frame_in().await != (CLOSE, vec![3, 232]) {}
    assert_eq!(rig.client.next().await, None);
    assert_eq!(rig.elapsed().as_secs(), 5);
    chatter.await.unwrap();
    assert_eq!(rig.end().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_whose_close_is_not_answered_in_time_gets_its_own_code() {
    let mut rig = rig();
    rig.upstream.send_close(4001, "enough").await;
    rig.client.gets_close(4001, "enough").await;
    rig.upstream.gets_close(4001, "").await;
    assert_eq!(rig.elapsed().as_secs(), 5);
    assert_eq!(rig.client.next().await, None, "the client is dropped");
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (4001, "the upstream closed: enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_instead_of_answering_has_the_client_get_its_own_code() {
    let mut rig = rig();
    rig.client.send_close(4001, "enough").await;
    rig.upstream.gets_close(4001, "enough").await;
    rig.upstream.stream.shutdown().await.unwrap();
    rig.client.is_closed_by(4001, "").await;
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.end().await, (4001, "the client closed: enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_instead_of_answering_has_the_upstream_get_its_own_code() {
    let mut rig = rig();
    rig.upstream.send_close(4001, "").await;
    rig.client.gets_close(4001, "").await;
    rig.client.stream.shutdown().await.unwrap();
    rig.upstream.gets_close(4001, "").await;
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (4001, "the upstream closed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_end_the_connection_is_left_after_a_timeout() {
    let mut rig = rig();
    rig.client.send_close(1000, "").await;
    rig.upstream.gets_close(1000, "").await;
    rig.upstream.send_close(1000, "").await;
    rig.client.is_closed_by(1000, "").await;
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.upstream.next().await, None);
    assert_eq!(rig.elapsed().as_secs(), 5);
    assert!(!rig.upstream.resets());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_reads_nothing_is_given_up_and_the_log_says_what_is_lost() {
    let sent = [frame(Role::Client, BINARY, &[7; 1000]), frame(Role::Client, CLOSE, b"\x03\xe8")];
    let mut rig = rig_with(config(), 100, [sent.concat(), vec![]]);
    rig.client.is_closed_by(1000, "").await;
    assert_eq!(rig.elapsed().as_secs(), 5);
    let (state, start) = (rig.upstream.state.clone(), rig.start);
    let (code, why) = rig.end().await;
    // 1,008 bytes of a message and 8 of the Close, without 100 that the pipe holds.
    assert_eq!(why, "the client closed; bytes not delivered to the upstream: 916");
    assert_eq!((code, start.elapsed().as_secs()), (1000, 65));
    assert!(state.is_reset());
}

#[tokio::test(start_paused = true)]
async fn pongs_precede_a_close() {
    let mut rig = rig();
    let sent = [rig.upstream.frame(PING, b"!"), rig.upstream.frame(CLOSE, b"\x03\xe8")].concat();
    rig.upstream.write(&sent).await;
    rig.client.gets_close(1000, "").await;
    rig.client.send_close(1000, "").await;
    assert_eq!(rig.upstream.frame_in().await, (PONG, b"!".to_vec()));
    rig.upstream.gets_close(1000, "").await;
}
