//! Turns: a task that never waits does not delay others.

use std::{
    pin::Pin,
    sync::atomic::AtomicUsize,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::UnixStream,
    time::timeout,
};

use super::{LONG, answers, connection, echo};
use crate::{
    turn::{BUDGET, TIME_SLICE, UNTIMED_OPERATIONS},
    *,
};

#[tokio::test]
async fn a_task_that_never_waits_leaves_others_their_turn() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    loops.spawn(async {
        let (mut one, mut other) = (StreamSocket::Unix(one), StreamSocket::Unix(other));
        // Written bytes can be read at once.
        while one.write_all(b"x").await.is_ok() {
            other.read_exact(&mut [0]).await.unwrap();
        }
    });
    let (mut client, socket) = connection().await;
    loops.spawn(echo(socket));
    for _ in 0..20 {
        answers(&mut client, 100).await;
    }
}

#[tokio::test]
async fn a_turn_is_bounded() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (_client, mut socket) = connection().await;
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let mut written = 0;
        let in_one_turn = std::future::poll_fn(|cx| {
            assert!(has_turn());
            while let Poll::Ready(done) = Pin::new(&mut socket).poll_write(cx, b"x") {
                written += done.unwrap();
            }
            assert!(!has_turn());
            Poll::Ready(written)
        });
        sender.send(in_one_turn.await).unwrap();
    });
    let written = timeout(LONG, receiver).await.expect("the end of a turn").unwrap();
    assert!((UNTIMED_OPERATIONS as usize..=BUDGET as usize).contains(&written), "{written}");
}

/// Takes one whole turn after another, and counts them in `turns`.
async fn flood(turns: Arc<AtomicUsize>) {
    std::future::poll_fn(|cx| {
        turns.fetch_add(1, Ordering::Relaxed);
        while may_continue(cx) {
            thread::sleep(TIME_SLICE / 10);
        }
        Poll::<()>::Pending
    })
    .await;
}

#[tokio::test]
async fn a_socket_waits_for_few_turns_of_tasks_that_flood_however_many_they_are() {
    const FLOODS: usize = 200;
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    for _ in 0..FLOODS {
        loops.spawn(flood(turns.clone()));
    }
    let (mut client, socket) = connection().await;
    loops.spawn(echo(socket));
    // After the first answer all floods have begun: tasks begin in order.
    answers(&mut client, 1).await;
    let mut waited = Vec::new();
    for _ in 0..20 {
        let before = turns.load(Ordering::Relaxed);
        answers(&mut client, 1).await;
        waited.push(turns.load(Ordering::Relaxed) - before);
    }
    waited.sort_unstable();
    // A median leaves out delays by other threads.
    assert!(waited[waited.len() / 2] < FLOODS / 4, "{waited:?}");
}

#[tokio::test]
async fn after_its_turn_a_task_is_polled_again_whatever_it_waits_for() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (_client, mut socket) = connection().await;
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            assert_nothing_to_read(&mut socket, cx);
            if polls == 2 {
                return Poll::Ready(());
            }
            while Pin::new(&mut socket).poll_write(cx, b"x").is_ready() {}
            assert!(!has_turn());
            assert_nothing_to_read(&mut socket, cx);
            Poll::Pending
        })
        .await;
        sender.send(()).unwrap();
    });
    timeout(LONG, receiver).await.expect("another poll").unwrap();
}

fn assert_nothing_to_read(socket: &mut StreamSocket, cx: &mut Context<'_>) {
    let mut buf = [0; 10];
    assert!(Pin::new(socket).poll_read(cx, &mut ReadBuf::new(&mut buf)).is_pending());
}
