//! The contract of the README: wakes, ordering, and which task may use a socket.

use std::{
    any::Any,
    io::Write,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::mpsc,
    task::Poll,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::UnixStream,
    sync::broadcast,
    time::{sleep, timeout},
};

use super::{LONG, answers, block, echo};
use crate::{state::WRONG_LOOP, stream_socket::WRONG_TASK, *};

#[tokio::test]
async fn one_task_waits_for_sockets_timers_and_channels_at_once() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (mut one, first) = UnixStream::pair().unwrap();
    let (mut other, second) = UnixStream::pair().unwrap();
    let (request, mut requested) = tokio::sync::mpsc::channel(1);
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    loops.spawn(async move {
        let (mut first, mut second) = (StreamSocket::Unix(first), StreamSocket::Unix(second));
        let (mut a, mut b) = ([0], [0]);
        for _ in 0..3 {
            let ready = tokio::select! {
                read = first.read_exact(&mut a) => read.map(|_| "first").unwrap(),
                read = second.read_exact(&mut b) => read.map(|_| "second").unwrap(),
                Some(()) = requested.recv() => "channel",
            };
            sender.send(ready).await.unwrap();
        }
        let (one, other, ()) = tokio::join!(
            first.read_exact(&mut a),
            second.read_exact(&mut b),
            sleep(Duration::from_millis(1)),
        );
        sender.send(one.and(other).map(|_| "all").unwrap()).await.unwrap();
    });
    let mut next = async || timeout(LONG, receiver.recv()).await.expect("a wake").unwrap();
    other.write_all(b"x").await.unwrap();
    assert_eq!(next().await, "second");
    request.send(()).await.unwrap();
    assert_eq!(next().await, "channel");
    one.write_all(b"x").await.unwrap();
    assert_eq!(next().await, "first");
    other.write_all(b"x").await.unwrap();
    one.write_all(b"x").await.unwrap();
    assert_eq!(next().await, "all");
}

#[tokio::test]
async fn readiness_polls_the_task_but_not_a_future_that_waits_for_a_waker_of_its_own() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (mut client, socket) = UnixStream::pair().unwrap();
    let (sender, polls) = mpsc::channel();
    loops.spawn(async move {
        let mut socket = StreamSocket::Unix(socket);
        let mut reads = FuturesUnordered::from_iter([async { socket.read_u8().await }]);
        std::future::poll_fn(|cx| {
            sender.send(reads.poll_next_unpin(cx).is_ready()).unwrap();
            Poll::<()>::Pending
        })
        .await;
    });
    // The set of reads wakes its task once by itself.
    for _ in 0..3 {
        loops.ping(LONG).await.unwrap();
    }
    assert!(!polls.try_iter().any(|is_ready| is_ready));
    client.write_all(b"x").await.unwrap();
    assert!(!polls.recv_timeout(LONG).unwrap());
}

#[tokio::test]
async fn readiness_that_preceded_a_wake_is_delivered_before_it() {
    let loops = EventLoops::with_threads(1, 2).unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        let (client, socket) = UnixStream::pair().unwrap();
        loops.spawn(echo(StreamSocket::Unix(socket)));
        others.push(client);
    }
    let (mut client, socket) = UnixStream::pair().unwrap();
    let (request, mut requested) = oneshot::channel::<()>();
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let (mut socket, mut buf) = (StreamSocket::Unix(socket), [0; 10]);
        let has_read = std::future::poll_fn(|cx| {
            let is_woken = Pin::new(&mut requested).poll(cx).is_ready();
            let read = Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut buf));
            if is_woken || read.is_ready() { Poll::Ready(read.is_ready()) } else { Poll::Pending }
        });
        sender.send(has_read.await).unwrap();
    });
    // All sockets are registered before the loop is blocked.
    loops.ping(LONG).await.unwrap();
    let release = block(&loops).await;
    // The system reports events in this order: the inbox, the others, the client.
    loops.spawn(async {});
    for other in &mut others {
        other.write_all(b"x").await.unwrap();
    }
    client.write_all(b"x").await.unwrap();
    request.send(()).unwrap();
    drop(release);
    assert!(timeout(LONG, receiver).await.expect("a wake").unwrap());
}

#[tokio::test]
async fn many_woken_tasks_leave_sockets_their_turn() {
    let loops = EventLoops::with_threads(1, 2).unwrap();
    let (client, socket) = UnixStream::pair().unwrap();
    let (sender, receiver) = mpsc::channel();
    let reports = sender.clone();
    loops.spawn(async move {
        StreamSocket::Unix(socket).read_exact(&mut [0]).await.unwrap();
        reports.send("a read").unwrap();
    });
    let (request, _) = broadcast::channel(1);
    for _ in 0..9 {
        let (mut requested, reports) = (request.subscribe(), sender.clone());
        let client = client.as_fd().try_clone_to_owned().unwrap();
        loops.spawn(async move {
            requested.recv().await.unwrap();
            // Only the first of these writes finds a reader.
            std::os::unix::net::UnixStream::from(client).write_all(b"x").ok();
            reports.send("a wake").unwrap();
        });
    }
    // All tasks wait before the loop is blocked.
    loops.ping(LONG).await.unwrap();
    let release = block(&loops).await;
    request.send(()).unwrap();
    drop(release);
    let order: Vec<_> = (0..10).map(|_| receiver.recv_timeout(LONG).unwrap()).collect();
    assert!(order[..9].contains(&"a read"), "{order:?}");
}

/// A socket on the loop of `loops` whose first user has ended, and the socket of its peer.
async fn used_socket(loops: &EventLoops) -> (UnixStream, StreamSocket) {
    let (mut peer, socket) = UnixStream::pair().unwrap();
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let mut socket = StreamSocket::Unix(socket);
        socket.read_exact(&mut [0]).await.unwrap();
        sender.send(socket).unwrap();
    });
    peer.write_all(b"x").await.unwrap();
    (peer, timeout(LONG, receiver).await.unwrap().unwrap())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map_or("", String::as_str)
}

/// Reads from `socket` in a task of `loops`, and then drops the socket there. Returns the panic messages of
/// both.
async fn read_and_drop(loops: &EventLoops, mut socket: StreamSocket) -> [String; 2] {
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let read = AssertUnwindSafe(socket.read_u8()).catch_unwind().await.map(drop);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(socket)));
        let messages = [read, dropped];
        let messages =
            messages.map(|done| done.map_or_else(|e| message(&*e).to_owned(), |()| String::new()));
        sender.send(messages).unwrap();
    });
    timeout(LONG, receiver).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_socket_is_refused_to_other_loops_whose_own_sockets_stay_as_they_were() {
    let own = EventLoops::with_threads(1, BATCH).unwrap();
    let other = EventLoops::with_threads(1, BATCH).unwrap();
    // This socket has the same key on its loop as the other socket on the other loop.
    let (mut neighbour, socket) = UnixStream::pair().unwrap();
    other.spawn(echo(StreamSocket::Unix(socket)));
    answers(&mut neighbour, 1).await;
    let (_peer, socket) = used_socket(&own).await;
    for message in read_and_drop(&other, socket).await {
        assert!(message.contains(WRONG_LOOP), "{message}");
    }
    answers(&mut neighbour, 100).await;
}

#[tokio::test]
async fn a_socket_is_refused_to_threads_of_the_runtime() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (_peer, mut socket) = used_socket(&loops).await;
    let read = AssertUnwindSafe(socket.read_u8()).catch_unwind().await;
    assert!(message(&*read.unwrap_err()).contains(WRONG_LOOP));
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(socket)));
    assert!(message(&*dropped.unwrap_err()).contains(WRONG_LOOP));
}

#[tokio::test]
async fn a_socket_is_refused_to_other_tasks_of_its_loop_which_may_drop_it() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    // The other task does not get the key of the first, which has ended.
    let (_peer, socket) = used_socket(&loops).await;
    loops.spawn(std::future::pending());
    let [read, dropped] = read_and_drop(&loops, socket).await;
    assert!(read.contains(WRONG_TASK), "{read}");
    assert_eq!(dropped, "");
}

#[tokio::test]
async fn a_task_that_panics_with_a_socket_of_another_loop_ends_alone() {
    let own = EventLoops::with_threads(1, BATCH).unwrap();
    let other = EventLoops::with_threads(1, BATCH).unwrap();
    let (mut peer, socket) = used_socket(&own).await;
    other.spawn(async move {
        let _socket = socket;
        panic!("expected by this test");
    });
    assert_eq!(timeout(LONG, peer.read(&mut [0])).await.expect("an end").unwrap(), 0);
    other.ping(LONG).await.unwrap();
    own.ping(LONG).await.unwrap();
}
