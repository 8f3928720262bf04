//! The heartbeat: Pings, Pongs and other signs of life.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_and_then_dropped() {
    let mut rig = rig(Framing::Bytes);
    assert_eq!(rig.at_client(2).await, PING);
    assert_eq!(rig.elapsed().as_secs(), 20);
    assert_eq!(rig.end().await, (1006, "the client did not answer a Ping".to_owned(), 35));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_is_asked_again_and_never_dropped() {
    let mut rig = rig(Framing::Bytes);
    for _ in 0..100 {
        assert_eq!(rig.at_client(2).await, PING);
        sleep(Duration::from_secs(1)).await;
        rig.client.write_all(&PONG).await.unwrap();
    }
    assert!(!rig.bridge.is_finished());
    assert_eq!(rig.elapsed().as_secs(), 100 * 21);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_very_moment_of_the_question_counts() {
    let mut rig = rig(Framing::Bytes);
    for _ in 0..5 {
        assert_eq!(rig.at_client(2).await, PING);
        rig.client.write_all(&PONG).await.unwrap();
    }
    assert!(!rig.bridge.is_finished());
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    let mut rig = rig(Framing::Bytes);
    // One message, a byte of it every 19 seconds: no Ping is due.
    for byte in frame(0x82, b"slowly") {
        sleep(Duration::from_secs(19)).await;
        rig.client.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(rig.at_upstream(6).await, b"slowly");
    // And after a Ping any byte will do.
    assert_eq!(rig.at_client(2).await, PING);
    sleep(Duration::from_secs(14)).await;
    rig.client.write_all(&[0x82]).await.unwrap();
    assert_eq!(rig.at_client(2).await, PING);
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_sends_is_no_sign_of_the_clients_life() {
    let mut rig = rig(Framing::Bytes);
    let mut upstream = rig.upstream;
    let chatter = tokio::spawn(async move {
        while upstream.write_all(b"still here").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    rig.upstream = duplex(1).0;
    assert_eq!(rig.end().await.1, "the client did not answer a Ping");
    chatter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
        async move { upstream.write_all(&[7; 1 << 20]).await }
    });
    let (_, why, seconds) = rig.end().await;
    assert_eq!((why.as_str(), seconds), ("the client did not answer a Ping", 35));
    assert!(flood.await.unwrap().is_err(), "it was held back");
}

#[tokio::test(start_paused = true)]
async fn a_slow_transfer_that_moves_is_never_cut() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
        async move { upstream.write_all(&[7; 1 << 20]).await }
    });
    // The client says nothing and takes a few bytes now and then.
    for _ in 0..200 {
        sleep(Duration::from_secs(14)).await;
        rig.at_client(50).await;
    }
    assert!(!rig.bridge.is_finished(), "{:?}", rig.bridge.await);
    drop(rig.client);
    flood.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_for_the_upstreams_sake_is_not_given_up() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = rig(framing);
        let sending = tokio::spawn({
            let (mut read, mut write) = tokio::io::split(rig.client);
            async move {
                let bytes = frame(0x82, &[7; 10_000]).repeat(20);
                write.write_all(&bytes).await.unwrap();
                // It answers nothing, because nothing that it sends is read.
                let mut got = vec![];
                read.read_to_end(&mut got).await.unwrap();
            }
        });
        sleep(HOUR * 5).await;
        assert!(!rig.bridge.is_finished(), "{framing}");
        // The upstream comes to life, and all is there.
        let mut upstream = rig.upstream;
        let mut got = vec![0; 200_000];
        upstream.read_exact(&mut got).await.unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        drop(upstream);
        rig.client = duplex(1).0;
        rig.bridge.abort();
        sending.abort();
    }
}
