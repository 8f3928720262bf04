//! The server's shutdown.

use super::*;
use crate::runtime::drain::{EndRequest, ServerClose};

const SHUTDOWN: &str = "the server is shutting down";

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_closed_on_both_sides_at_the_beginning_of_a_drain() {
    let mut rig = rig();
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Graceful);
    rig.client.gets_close(1001, SHUTDOWN).await;
    rig.upstream.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed().as_secs(), 1);
    rig.client.send_close(1001, "").await;
    rig.upstream.send_close(1001, "").await;
    assert_eq!(rig.client.next().await, None);
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1001, SHUTDOWN.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_reply_and_for_the_end_of_a_message() {
    let mut rig = rig();
    rig.client.send(TEXT, b"request").await;
    rig.upstream.frame_in().await;
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_millis(150)).await;
    rig.upstream.send(TEXT_BEGINS, b"re").await;
    assert_eq!(rig.client.frame_in().await, (TEXT_BEGINS, b"re".to_vec()));
    sleep(Duration::from_secs(3)).await;
    rig.upstream.send(LAST, b"ply").await;
    assert_eq!(rig.client.frame_in().await, (LAST, b"ply".to_vec()));
    rig.client.gets_close(1001, SHUTDOWN).await;
    rig.upstream.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed().as_millis(), 3350);
}

#[tokio::test(start_paused = true)]
async fn an_immediate_drain_closes_each_side_at_its_next_message_boundary() {
    let mut rig = rig();
    rig.upstream.send(TEXT_BEGINS, b"half").await;
    rig.client.frame_in().await;
    rig.drain.advance(Stage::Immediate);
    rig.upstream.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed(), Duration::ZERO, "silence is not waited for");
    sleep(Duration::from_secs(1)).await;
    rig.upstream.send(LAST, b"").await;
    assert_eq!(rig.client.frame_in().await, (LAST, vec![]));
    rig.client.gets_close(1001, SHUTDOWN).await;
    rig.client.vanish();
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1001, SHUTDOWN.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_requested_waits_for_messages_as_long_as_something_moves() {
    let mut rig = rig();
    rig.client.send(TEXT_BEGINS, b"a").await;
    rig.upstream.frame_in().await;
    rig.upstream.send(TEXT_BEGINS, b"b").await;
    rig.client.frame_in().await;
    let close = ServerClose { code: CloseCode(4000), reason: "enough".into() };
    assert!(rig.drain.request_end(1, EndRequest { stage: Stage::Immediate, close }));
    for _ in 0..3 {
        sleep(Duration::from_secs(4)).await;
        rig.client.send(MORE, b"a").await;
        assert_eq!(rig.upstream.frame_in().await, (MORE, b"a".to_vec()));
    }
    rig.client.gets_close(4000, "enough").await;
    rig.upstream.gets_close(4000, "enough").await;
    assert_eq!(rig.elapsed().as_secs(), 17);
    rig.client.send_close(4000, "").await;
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (4000, "enough".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_begins_in_a_drain_ends_as_well() {
    let rig = rig();
    rig.drain.advance(Stage::Graceful);
    let start = rig.start;
    assert_eq!(rig.end().await.0, 1001);
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_resets_a_side_to_which_bytes_are_owed() {
    let mut rig = rig_with(config(), 100, [vec![], vec![]]);
    rig.client.send(BINARY, &[7; 90]).await;
    rig.client.send(BINARY, &[7; 90]).await;
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Cut);
    let states = [rig.client.state.clone(), rig.upstream.state.clone()];
    assert_eq!(rig.end().await, (1006, "cut off at the end of the shutdown (--drain)".to_owned()));
    let [client, upstream] = states.map(|state| state.is_reset());
    assert!(upstream && !client);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_resets_a_side_that_has_half_a_message() {
    let mut rig = rig();
    rig.upstream.send(TEXT_BEGINS, b"half").await;
    rig.client.frame_in().await;
    rig.drain.advance(Stage::Cut);
    let state = rig.client.state.clone();
    rig.end().await;
    assert!(state.is_reset());
}
