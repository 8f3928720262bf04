//! Peers that end without a Close.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_without_a_close_resets_the_upstream_behind_its_messages() {
    let mut rig = rig();
    rig.client.send(TEXT, b"last").await;
    rig.client.stream.shutdown().await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (TEXT, b"last".to_vec()));
    // A client that has ended its side only gets the reply.
    rig.upstream.send(TEXT, b"reply").await;
    assert_eq!(rig.client.frame_in().await, (TEXT, b"reply".to_vec()));
    assert_eq!(rig.client.next().await, None, "no Close");
    rig.upstream.is_reset().await;
    assert_eq!(rig.elapsed().as_millis(), 200);
    assert_eq!(rig.end().await, (1006, "the client ended without a Close".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_its_connection_resets_the_upstream_behind_its_messages() {
    let mut rig = rig_with(config(), 100, [vec![], vec![]]);
    rig.client.send(BINARY, &[7; 80]).await;
    rig.client.send(BINARY, &[7; 80]).await;
    rig.client.reset();
    // The upstream is slow, and gets everything.
    sleep(Duration::from_secs(10)).await;
    let mut got = 0;
    while let Some((_, part)) = rig.upstream.next().await {
        got += part.len();
    }
    assert_eq!(got, 160);
    assert!(rig.upstream.resets());
    assert_eq!(rig.end().await, (1006, "the client reset the connection".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_resets_the_upstream() {
    let mut rig = rig();
    let pongs = tokio::spawn(async move {
        while let Some((first, _)) = rig.upstream.next().await {
            assert_eq!(first, PING);
            rig.upstream.send(PONG, b"").await;
        }
        rig.upstream
    });
    assert_eq!(rig.client.frame_in().await, (PING, vec![]));
    assert_eq!(rig.client.next().await, None);
    assert!(pongs.await.unwrap().resets());
    assert_eq!(rig.start.elapsed().as_secs(), 35);
    assert_eq!(rig.relay.await.unwrap().why, "the client did not answer a Ping");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_without_a_close_has_the_client_get_1011() {
    let reason = "the upstream ended without a Close";
    let mut rig = rig();
    rig.upstream.send(TEXT, b"last").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.client.frame_in().await, (TEXT, b"last".to_vec()));
    rig.client.gets_close(1011, reason).await;
    rig.client.send_close(1011, "").await;
    assert_eq!(rig.client.next().await, None);
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.end().await, (1011, reason.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_resets_the_connection_has_the_client_get_1011() {
    let reason = "the upstream reset the connection";
    let mut rig = rig();
    rig.upstream.send(TEXT_BEGINS, b"half a mess").await;
    assert_eq!(rig.client.frame_in().await, (TEXT_BEGINS, b"half a mess".to_vec()));
    rig.upstream.reset();
    rig.client.gets_close(1011, reason).await;
    rig.client.vanish();
    assert_eq!(rig.end().await, (1011, reason.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_resets_the_connection_after_the_clients_close_is_reported() {
    let mut rig = rig();
    rig.client.send_close(1000, "").await;
    rig.upstream.gets_close(1000, "").await;
    rig.upstream.reset();
    rig.client.is_closed_by(1011, "the upstream reset the connection").await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_with_undelivered_bytes_is_reported_to_the_client() {
    let sent = [frame(Role::Client, BINARY, &[7; 1000]), frame(Role::Client, CLOSE, b"\x03\xe8")];
    let mut rig = rig_with(config(), 100, [sent.concat(), vec![]]);
    sleep(Duration::from_secs(1)).await;
    rig.upstream.vanish();
    rig.client.is_closed_by(1011, "the upstream ended without a Close").await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_no_ping_has_the_client_get_1011() {
    let mut rig = rig();
    let reason = "the upstream did not answer a Ping";
    assert_eq!(rig.client.frame_in().await, (PING, vec![]));
    rig.client.send(PONG, b"").await;
    rig.client.gets_close(1011, reason).await;
    assert_eq!(rig.elapsed().as_secs(), 35);
    rig.client.send_close(1011, "").await;
    assert_eq!(rig.end().await, (1011, reason.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_while_the_upstream_reads_nothing_is_given_up() {
    let mut rig = rig_with(config(), 100, [vec![], vec![]]);
    let sent = frame(Role::Client, BINARY, &[7; 60]).repeat(3);
    let mut client = std::mem::replace(&mut rig.client.stream, duplex(1).0);
    let state = rig.client.state.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        state.reset();
    });
    writing.await.unwrap();
    // The upstream sends, but does not read: it is not considered lost for want of a Pong.
    let mut upstream = std::mem::replace(&mut rig.upstream.stream, duplex(1).0);
    let chatter = tokio::spawn(async move {
        while upstream.write_all(&frame(Role::Server, TEXT, b"hi")).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let state = rig.upstream.state.clone();
    let start = rig.start;
    let (code, why) = rig.end().await;
    assert_eq!(code, 1006);
    assert!(why.starts_with("the client"), "{why}");
    assert!(why.contains("; bytes not delivered to the upstream: "), "{why}");
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
    assert!(state.is_reset());
    chatter.await.unwrap();
}
