//! Pings, Pongs and other signs of life.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_silent_client_gets_a_ping_and_is_then_dropped() {
    let mut rig = rig(Framing::Bytes);
    assert_eq!(rig.at_client(2).await, PING);
    assert_eq!(rig.elapsed().as_secs(), 20);
    assert_eq!(rig.end().await, (1006, "the client did not answer a Ping".to_owned(), 35));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_gets_further_pings_and_is_never_dropped() {
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
async fn a_pong_at_the_very_time_of_the_ping_counts() {
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
    // One byte of a message every 19 seconds: no Ping is due.
    for byte in frame(0x82, b"slowly") {
        sleep(Duration::from_secs(19)).await;
        rig.client.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(rig.at_upstream(6).await, b"slowly");
    // After a Ping any byte is an answer.
    assert_eq!(rig.at_client(2).await, PING);
    sleep(Duration::from_secs(14)).await;
    rig.client.write_all(&[0x82]).await.unwrap();
    assert_eq!(rig.at_client(2).await, PING);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_upstream_are_no_sign_of_life_of_the_client() {
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
async fn a_client_that_reads_nothing_is_dropped() {
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
async fn a_slow_transfer_is_never_cut_off() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
        async move { upstream.write_all(&[7; 1 << 20]).await }
    });
    // The client sends nothing and reads a few bytes from time to time.
    for _ in 0..200 {
        sleep(Duration::from_secs(14)).await;
        rig.at_client(50).await;
    }
    assert!(!rig.bridge.is_finished(), "{:?}", rig.bridge.await);
    drop(rig.client);
    flood.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_because_of_the_upstream_is_not_dropped() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = rig(framing);
        let sending = tokio::spawn({
            let (mut read, mut write) = tokio::io::split(rig.client);
            async move {
                let bytes = frame(0x82, &[7; 10_000]).repeat(20);
                write.write_all(&bytes).await.unwrap();
                // The client sends no Pong, since nothing that it sends is read.
                let mut got = vec![];
                read.read_to_end(&mut got).await.unwrap();
            }
        });
        sleep(HOUR * 5).await;
        assert!(!rig.bridge.is_finished(), "{framing}");
        // The upstream begins to read, and nothing is lost.
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
