use std::{net::SocketAddr, sync::mpsc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    time::{sleep, timeout},
};

use super::*;

mod contract;
mod health;
mod turns;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Both ends of a TCP connection, the client's and the server's.
async fn connection() -> (TcpStream, StreamSocket) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0.into())
}

/// Echoes every byte until the end of the stream.
async fn echo(mut socket: StreamSocket) {
    let mut buf = [0; 1000];
    while let Ok(n @ 1..) = socket.read(&mut buf).await {
        socket.write_all(&buf[..n]).await.unwrap();
    }
    socket.shutdown().await.unwrap();
}

async fn answers(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), len: usize) {
    let sent: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let mut got = vec![0; len];
    let (mut from, mut to) = tokio::io::split(client);
    let exchange = async { tokio::try_join!(to.write_all(&sent), from.read_exact(&mut got)) };
    timeout(LONG, exchange).await.expect("an answer").unwrap();
    assert!(got == sent);
}

/// Ends the client's side, and waits for the end of the other.
async fn ends(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    client.shutdown().await.unwrap();
    assert_eq!(timeout(LONG, client.read(&mut [0])).await.expect("an end").unwrap(), 0);
}

/// Blocks the loop with the fewest tasks until the result is dropped.
async fn block(loops: &EventLoops) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (sender, blocked) = oneshot::channel();
    loops.spawn(async move {
        sender.send(()).unwrap();
        released.recv().ok();
    });
    blocked.await.unwrap();
    release
}

#[tokio::test]
async fn sockets_carry_bytes_and_the_end() {
    let loops = EventLoops::start().unwrap();
    let (mut tcp, socket) = connection().await;
    loops.spawn(echo(socket));
    let (mut unix, socket) = UnixStream::pair().unwrap();
    loops.spawn(echo(StreamSocket::Unix(socket)));
    answers(&mut tcp, 1).await;
    answers(&mut unix, 1).await;
    answers(&mut tcp, 10_000_000).await;
    answers(&mut unix, 10_000_000).await;
    ends(&mut tcp).await;
    ends(&mut unix).await;
}

#[tokio::test]
async fn bytes_that_arrive_before_the_task_begins_are_read() {
    let loops = EventLoops::start().unwrap();
    let (mut client, socket) = connection().await;
    client.write_all(b"all of it").await.unwrap();
    client.shutdown().await.unwrap();
    loops.spawn(echo(socket));
    let mut got = Vec::new();
    timeout(LONG, client.read_to_end(&mut got)).await.expect("an end").unwrap();
    assert_eq!(got, b"all of it");
}

#[tokio::test]
async fn a_reset_is_an_error() {
    let loops = EventLoops::start().unwrap();
    let (client, mut socket) = connection().await;
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let first = socket.read(&mut [0; 10]).await;
        sender.send((first, socket.write(b"x").await)).unwrap();
    });
    loops.ping(LONG).await.unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (read, written) = timeout(LONG, receiver).await.expect("an end").unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn timers_and_channels_of_the_runtime_wake_a_task() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (request, requested) = oneshot::channel();
    let (sender, receiver) = oneshot::channel();
    loops.spawn(async move {
        let n: u32 = requested.await.unwrap();
        sleep(Duration::from_millis(1)).await;
        sender.send(n + 1).unwrap();
    });
    loops.ping(LONG).await.unwrap();
    request.send(1).unwrap();
    assert_eq!(timeout(LONG, receiver).await.expect("a wake").unwrap(), 2);
}

#[tokio::test]
async fn a_panic_ends_its_own_task() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (mut client, socket) = connection().await;
    loops.spawn(echo(socket));
    let (mut other, mut socket) = connection().await;
    loops.spawn(async move {
        socket.read_exact(&mut [0]).await.unwrap();
        panic!("expected by this test");
    });
    other.write_all(b"x").await.unwrap();
    assert_eq!(timeout(LONG, other.read(&mut [0])).await.expect("an end").unwrap(), 0);
    answers(&mut client, 100).await;
}

struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("expected by this test");
    }
}

#[tokio::test]
async fn a_panic_in_a_destructor_ends_there() {
    let loops = EventLoops::with_threads(1, BATCH).unwrap();
    let (sender, dropped) = mpsc::channel();
    let (last, first) = (SendOnDrop(sender), PanicOnDrop);
    loops.spawn(async { drop(PanicOnDrop) });
    loops.spawn(async move {
        let _held = (first, last);
        std::future::pending::<()>().await;
    });
    loops.ping(LONG).await.unwrap();
    drop(loops);
    dropped.recv_timeout(LONG).unwrap();
}

struct SendOnDrop(mpsc::Sender<()>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

#[tokio::test]
async fn tasks_are_dropped_with_the_last_handle() {
    let loops = EventLoops::start().unwrap();
    let (sender, dropped) = mpsc::channel();
    for _ in 0..10 {
        let (socket, on_drop) = (connection().await, SendOnDrop(sender.clone()));
        loops.spawn(async move {
            let _on_drop = on_drop;
            echo(socket.1).await;
            drop(socket.0);
        });
    }
    let same = loops.clone();
    drop(loops);
    same.ping(LONG).await.unwrap();
    assert!(dropped.try_recv().is_err(), "a handle is left");
    drop(same);
    for _ in 0..10 {
        dropped.recv_timeout(LONG).unwrap();
    }
}

#[tokio::test]
async fn a_task_is_placed_on_the_loop_with_the_fewest() {
    let loops = EventLoops::with_threads(3, BATCH).unwrap();
    let loads = || -> Vec<_> {
        loops.0.iter().map(|handle| handle.inbox.load.load(Ordering::Relaxed)).collect()
    };
    let mut ends = Vec::new();
    for _ in 0..6 {
        let (end, ended) = oneshot::channel::<()>();
        ends.push(end);
        loops.spawn(async { drop(ended.await) });
    }
    assert_eq!(loads(), [2, 2, 2]);
    drop(ends);
    timeout(LONG, async {
        while loads() != [0, 0, 0] {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("ended tasks");
}
