//! The server's shutdown.

use echogate_event_loop::InFlight;

use super::*;
use crate::runtime::drain::{EndRequest, ServerClose};

const SHUTDOWN: &str = "the server is shutting down";

#[tokio::test(start_paused = true)]
async fn a_drain_closes_the_client_first_and_the_upstream_with_the_clients_close() {
    let mut rig = rig();
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Graceful);
    rig.client.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed().as_secs(), 1);
    for _ in 0..3 {
        sleep(Duration::from_secs(1)).await;
        rig.client.send(TEXT, b"late").await;
        assert_eq!(rig.upstream.frame_in().await, (TEXT, b"late".to_vec()));
    }
    rig.client.send_close(1001, "").await;
    rig.upstream.gets_close(1001, "").await;
    rig.upstream.send_close(1001, "").await;
    assert_eq!(rig.client.next().await, None);
    rig.upstream.vanish();
    assert_eq!(rig.end().await, (1001, SHUTDOWN.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_upstream_of_a_client_that_does_not_answer_is_closed_if_that_is_at_rest_and_else_reset()
{
    for goes_on in [false, true] {
        let mut rig = rig();
        rig.client.state.set_in_flight(Some(InFlight::NOTHING));
        sleep(Duration::from_secs(1)).await;
        rig.drain.advance(Stage::Graceful);
        rig.client.gets_close(1001, SHUTDOWN).await;
        if goes_on {
            rig.client.send(TEXT, b"late").await;
            rig.upstream.frame_in().await;
        } else {
            rig.upstream.gets_close(1001, SHUTDOWN).await;
            rig.upstream.vanish();
        }
        let state = rig.upstream.state.clone();
        assert_eq!(rig.end().await, (1001, SHUTDOWN.to_owned()));
        assert_eq!(state.is_reset(), goes_on);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_sends_after_the_close_is_counted() {
    let mut rig = rig();
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Graceful);
    rig.client.gets_close(1001, SHUTDOWN).await;
    rig.upstream.send(TEXT, b"late").await;
    sleep(Duration::from_millis(1)).await;
    rig.client.send_close(1001, "").await;
    rig.upstream.gets_close(1001, "").await;
    rig.upstream.send(TEXT, b"after the client's Close").await;
    rig.upstream.send_close(1001, "").await;
    rig.upstream.vanish();
    let why = format!("{SHUTDOWN}; bytes not delivered to the client: 4");
    assert_eq!(rig.end().await, (1001, why));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_spoke_last_is_closed_behind_the_reply_that_it_waits_for() {
    let mut rig = rig();
    rig.client.send(TEXT, b"request").await;
    rig.upstream.frame_in().await;
    rig.drain.advance(Stage::Graceful);
    sleep(Duration::from_secs(15)).await;
    rig.upstream.send(TEXT, b"reply").await;
    assert_eq!(rig.client.frame_in().await, (TEXT, b"reply".to_vec()));
    rig.client.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed().as_millis(), 15_200);
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
    assert_eq!(rig.elapsed().as_millis(), 3350);
}

#[tokio::test(start_paused = true)]
async fn an_immediate_drain_closes_the_client_behind_the_message_that_it_gets() {
    let mut rig = rig();
    rig.upstream.send(TEXT_BEGINS, b"half").await;
    rig.client.frame_in().await;
    rig.drain.advance(Stage::Immediate);
    sleep(Duration::from_secs(1)).await;
    rig.upstream.send(LAST, b"").await;
    assert_eq!(rig.client.frame_in().await, (LAST, vec![]));
    rig.client.gets_close(1001, SHUTDOWN).await;
    assert_eq!(rig.elapsed().as_secs(), 1, "silence is not waited for");
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
    // Neither of the peers answers its Close.
    assert!(start.elapsed() < Duration::from_secs(11));
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
