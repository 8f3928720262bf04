//! The idle timeout, in paused time.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connection_without_payload_ends_after_the_idle_timeout() {
    let idle_timeout = Some(Duration::from_secs(50));
    let config = BridgeConfig { idle_timeout, ..config(Framing::Bytes) };
    let mut rig = rig_on(Negotiated { config: config.into(), half_close: false }, 4096, b"");
    sleep(Duration::from_secs(10)).await;
    rig.client.write_all(&frame(0x82, b"x")).await.unwrap();
    // Pongs are signs of life, but no payload.
    for _ in 0..2 {
        assert_eq!(rig.at_client(2).await, PING);
        rig.client.write_all(&PONG).await.unwrap();
    }
    rig.gets_close(CloseCode::GOING_AWAY, "idle timeout (--idle-timeout)").await;
    assert_eq!(rig.elapsed().as_secs(), 60);
    // The client does not answer the Close.
    let at_upstream = rig.at_upstream.clone();
    assert_eq!(rig.end().await, (1001, "idle timeout (--idle-timeout)".to_owned(), 65));
    assert!(!at_upstream.is_reset(), "the upstream has got everything");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_after_the_close_of_the_idle_timeout_and_does_not_answer_is_an_abort()
{
    let idle_timeout = Some(Duration::from_secs(10));
    let config = BridgeConfig { idle_timeout, ..config(Framing::Bytes) };
    let mut rig = rig_on(Negotiated { config: config.into(), half_close: false }, 4096, b"");
    rig.gets_close(CloseCode::GOING_AWAY, "idle timeout (--idle-timeout)").await;
    rig.client.write_all(&frame(0x82, b"more")).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"more");
    let at_upstream = rig.at_upstream.clone();
    rig.end().await;
    assert!(at_upstream.is_reset());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_until_the_idle_timeout_is_reset_and_the_log_says_what_is_lost()
{
    let idle_timeout = Some(Duration::from_secs(10));
    let config = BridgeConfig { idle_timeout, ..config(Framing::Bytes) };
    let mut rig = rig_on(Negotiated { config: config.into(), half_close: false }, 100, b"");
    rig.upstream.write_all(&[7; 90]).await.unwrap();
    rig.upstream.write_all(&[7; 90]).await.unwrap();
    let (at_client, at_upstream) = (rig.at_client.clone(), rig.at_upstream.clone());
    let (code, why, seconds) = rig.end().await;
    let expected = "idle timeout (--idle-timeout); cut off; bytes not delivered to the client: 2";
    assert_eq!((code, &*why, seconds), (1006, expected, 10));
    assert!(at_client.is_reset() && at_upstream.is_reset());
}
