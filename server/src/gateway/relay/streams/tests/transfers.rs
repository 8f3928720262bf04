//! Transfers between real sockets on an event loop.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::sockets::{Rig, rig, unix_rig};
use crate::gateway::test_rig::{in_time, pattern, write_in_pieces};

#[tokio::test]
async fn a_blocked_direction_does_not_hold_up_the_other_one_and_memory_is_bounded() {
    let mut rig = rig().await;
    let chunk = vec![0; 1 << 20];
    while timeout(Duration::from_millis(300), rig.client.write_all(&chunk)).await.is_ok() {}
    let held = rig.entry.received().bytes();
    for _ in 0..100 {
        rig.upstream.write_all(b"down").await.unwrap();
        let mut down = [0; 4];
        in_time(rig.client.read_exact(&mut down)).await.unwrap();
    }
    assert_eq!(rig.entry.received().bytes(), held, "nothing more was read from the client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_direction_does_not_hold_up_the_other_one() {
    let rig = rig().await;
    let (mut from_client, mut to_client) = rig.client.into_split();
    let (mut from_upstream, mut to_upstream) = rig.upstream.into_split();
    let chunk = vec![0; 1 << 20];
    let flood = tokio::spawn(async move { while to_client.write_all(&chunk).await.is_ok() {} });
    let sink = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 20];
        while from_upstream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    for _ in 0..300 {
        to_upstream.write_all(b"down").await.unwrap();
        in_time(from_client.read_exact(&mut [0; 4])).await.unwrap();
    }
    assert!(rig.entry.received().bytes() > 1 << 20);
    flood.abort();
    sink.abort();
}

/// Writes `bytes` in pieces of these sizes, and ends the output.
async fn send(mut to: impl AsyncWrite + Unpin, bytes: &[u8], sizes: &[usize]) {
    write_in_pieces(&mut to, bytes, sizes).await;
    to.shutdown().await.unwrap();
}

/// Reads to the end, in reads of these sizes.
async fn receive(mut from: impl AsyncRead + Unpin, pieces: &[usize]) -> Vec<u8> {
    let mut received = Vec::new();
    for &piece in pieces.iter().cycle() {
        let mut buffer = vec![0; piece];
        let len = from.read(&mut buffer).await.unwrap();
        if len == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..len]);
        tokio::task::yield_now().await;
    }
    received
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bytes_arrive_unchanged_in_pieces_of_any_size(
        lens in (0..600_000_usize, 0..600_000_usize),
        written in vec(1..300_000_usize, 1..8),
        read in vec(1..300_000_usize, 1..8),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (up, down) = (pattern(lens.0), pattern(lens.1));
            let Rig { client, upstream, relay, entry, drain: _drain } = unix_rig();
            let (from_client, to_client) = client.into_split();
            let (from_upstream, to_upstream) = upstream.into_split();
            let (at_client, at_upstream, ..) = in_time(async {
                tokio::join!(
                    receive(from_client, &read),
                    receive(from_upstream, &read),
                    send(to_client, &up, &written),
                    send(to_upstream, &down, &written),
                )
            })
            .await;
            assert!(at_client == down && at_upstream == up);
            relay.end().await;
            let carried = entry.carried();
            assert_eq!((carried.bytes_received, carried.bytes_sent), (up.len() as u64, down.len() as u64));
        });
    }
}
