//! The Pings of each side, and the idle timeout.

use super::*;

/// Answers each Ping, until the stream ends.
fn answer_pings(mut peer: FarEnd) -> JoinHandle<FarEnd> {
    tokio::spawn(async move {
        while let Some((first, _)) = peer.next().await {
            if first == PING {
                peer.send(PONG, b"").await;
            }
        }
        peer
    })
}

#[tokio::test(start_paused = true)]
async fn peers_that_answer_pings_are_never_dropped() {
    let rig = rig();
    let (_client, _upstream) = (answer_pings(rig.client), answer_pings(rig.upstream));
    sleep(HOUR * 5).await;
    assert!(!rig.relay.is_finished());
}

#[tokio::test(start_paused = true)]
async fn bytes_of_one_side_are_no_sign_of_life_of_the_other() {
    let mut rig = rig();
    for _ in 0..34 {
        sleep(Duration::from_secs(1)).await;
        rig.client.send(TEXT, b"still here").await;
    }
    rig.client.gets_close(1011, "the upstream did not answer a Ping").await;
    assert_eq!(rig.elapsed().as_secs(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_slow_transfer_is_never_cut_off() {
    for role in [Role::Client, Role::Server] {
        let rig = rig();
        let (mut fast, mut slow) = match role {
            Role::Client => (rig.client, rig.upstream),
            Role::Server => (rig.upstream, rig.client),
        };
        let flood = tokio::spawn(async move {
            let sent = frame(role, BINARY, &[7; 1000]).repeat(1000);
            fast.stream.write_all(&sent).await.ok();
        });
        // The slow side sends nothing and reads a few bytes from time to time.
        for _ in 0..200 {
            sleep(Duration::from_secs(14)).await;
            slow.stream.read_exact(&mut [0; 50]).await.unwrap();
        }
        assert!(!rig.relay.is_finished());
        flood.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_because_of_the_upstream_is_not_dropped() {
    let mut rig = rig();
    let sent = frame(Role::Client, BINARY, &[7; 10_000]).repeat(20);
    let (mut read, mut write) = tokio::io::split(rig.client.stream);
    let sending = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        // The client sends no Pong, since nothing that it sends is read.
        write
    });
    let reading = tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
    // The upstream reads nothing, but sends.
    let message = frame(Role::Server, TEXT, b"busy");
    for _ in 0..1000 {
        sleep(Duration::from_secs(10)).await;
        rig.upstream.write(&message).await;
    }
    assert!(!rig.relay.is_finished());
    // The upstream begins to read, and nothing is lost.
    let mut got = 0;
    while got < 200_000 {
        got += rig.upstream.frame_in().await.1.len();
    }
    assert_eq!(got, 200_000);
    sending.abort();
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_dropped() {
    let mut rig = rig();
    let upstream = std::mem::replace(&mut rig.upstream.stream, duplex(1).0);
    let (mut read, mut write) = tokio::io::split(upstream);
    let flood = tokio::spawn(async move {
        write.write_all(&frame(Role::Server, BINARY, &[7; 1000]).repeat(1000)).await
    });
    let reading = tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
    let start = rig.start;
    let state = rig.client.state.clone();
    let (code, why) = rig.end().await;
    assert_eq!(code, 1006);
    assert!(why.starts_with("the client did not answer a Ping; "), "{why}");
    assert!(why.contains("; bytes not delivered to the client: "), "{why}");
    assert_eq!(start.elapsed().as_secs(), 35);
    assert!(state.is_reset(), "bytes were owed");
    assert!(flood.await.unwrap().is_err(), "it was held back");
    reading.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_payload_is_closed_on_both_sides_after_the_idle_timeout() {
    let idle = "idle timeout (--idle-timeout)";
    let config = BridgeConfig { idle_timeout: Some(Duration::from_secs(50)), ..config() };
    let mut rig = rig_with(config, 4096, [vec![], vec![]]);
    sleep(Duration::from_secs(10)).await;
    rig.client.send(TEXT, b"x").await;
    assert_eq!(rig.upstream.frame_in().await, (TEXT, b"x".to_vec()));
    // Pongs are signs of life, but no payload.
    for _ in 0..2 {
        assert_eq!(rig.upstream.frame_in().await.0, PING);
        rig.upstream.send(PONG, b"").await;
        assert_eq!(rig.client.frame_in().await.0, PING);
        rig.client.send(PONG, b"").await;
    }
    rig.client.gets_close(1001, idle).await;
    rig.upstream.gets_close(1001, idle).await;
    assert_eq!(rig.elapsed().as_secs(), 60);
    rig.client.send_close(1001, "").await;
    assert_eq!(rig.client.next().await, None);
    rig.upstream.send_close(1001, "").await;
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1001, idle.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn peers_that_do_not_answer_the_close_of_an_idle_connection_are_left() {
    let config = BridgeConfig { idle_timeout: Some(Duration::from_secs(10)), ..config() };
    let rig = rig_with(config, 4096, [vec![], vec![]]);
    let start = rig.start;
    assert_eq!(rig.end().await.0, 1001);
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn the_upstream_of_a_client_that_reads_nothing_until_the_idle_timeout_is_reset() {
    let config = BridgeConfig { idle_timeout: Some(Duration::from_secs(10)), ..config() };
    let mut rig = rig_with(config, 100, [vec![], vec![]]);
    for _ in 0..2 {
        rig.upstream.send(BINARY, &[7; 90]).await;
    }
    let [client, upstream] = [&rig.client, &rig.upstream].map(|side| side.state.clone());
    let (code, why) = rig.end().await;
    assert_eq!(code, 1001);
    assert!(why.starts_with("idle timeout (--idle-timeout); "), "{why}");
    assert!(why.contains("; bytes not delivered to the client: "), "{why}");
    assert!(client.is_reset() && upstream.is_reset());
}
