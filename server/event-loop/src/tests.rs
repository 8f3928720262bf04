use std::{io::Write, net::SocketAddr, os::fd::AsFd, pin::Pin, sync::mpsc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{broadcast, oneshot},
    time::{sleep, timeout},
};

use super::*;

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A connection over TCP: one end, and the other as the server has it.
async fn connection() -> (TcpStream, StreamSocket) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0.into())
}

/// Answers every byte until the end.
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

/// Ends its side, and is told of the other's end.
async fn ends(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    client.shutdown().await.unwrap();
    assert_eq!(timeout(LONG, client.read(&mut [0])).await.expect("an end").unwrap(), 0);
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
async fn what_came_before_and_with_the_end_is_read() {
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
    let (tell, told) = oneshot::channel();
    loops.spawn(async move {
        let first = socket.read(&mut [0; 10]).await;
        tell.send((first, socket.write(b"x").await)).unwrap();
    });
    sleep(Duration::from_millis(20)).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (read, written) = timeout(LONG, told).await.expect("an end").unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_task_is_woken_by_what_is_not_on_its_loop() {
    let loops = EventLoops::of(1, BATCH).unwrap();
    let (ask, asked) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    loops.spawn(async move {
        let n: u32 = asked.await.unwrap();
        sleep(Duration::from_millis(1)).await;
        tell.send(n + 1).unwrap();
    });
    sleep(Duration::from_millis(20)).await;
    ask.send(1).unwrap();
    assert_eq!(timeout(LONG, told).await.expect("it is woken").unwrap(), 2);
}

#[tokio::test]
async fn who_is_woken_has_heard_before_what_had_come_then() {
    let loops = EventLoops::of(1, 2).unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        let (client, socket) = UnixStream::pair().unwrap();
        loops.spawn(echo(StreamSocket::Unix(socket)));
        others.push(client);
    }
    let (mut client, socket) = UnixStream::pair().unwrap();
    let (ask, mut asked) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    loops.spawn(async move {
        let (mut socket, mut buf) = (StreamSocket::Unix(socket), [0; 10]);
        let has_heard = std::future::poll_fn(|cx| {
            let is_asked = Pin::new(&mut asked).poll(cx).is_ready();
            let read = Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut buf));
            if is_asked || read.is_ready() { Poll::Ready(read.is_ready()) } else { Poll::Pending }
        });
        tell.send(has_heard.await).unwrap();
    });
    // It knows all of them, and then pauses.
    sleep(Duration::from_millis(20)).await;
    let (pausing, pauses) = oneshot::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    loops.spawn(async move {
        pausing.send(()).unwrap();
        goes_on.recv().unwrap();
    });
    pauses.await.unwrap();
    // In this order the system tells of it: the inbox, the others, the client.
    loops.spawn(async {});
    for other in &mut others {
        other.write_all(b"x").await.unwrap();
    }
    client.write_all(b"x").await.unwrap();
    ask.send(()).unwrap();
    go_on.send(()).unwrap();
    assert!(timeout(LONG, told).await.expect("it is woken").unwrap());
}

#[tokio::test]
async fn many_who_are_woken_leave_sockets_their_turn() {
    let loops = EventLoops::of(1, 2).unwrap();
    let (client, socket) = UnixStream::pair().unwrap();
    let (tell, told) = mpsc::channel();
    let tells = tell.clone();
    loops.spawn(async move {
        StreamSocket::Unix(socket).read_exact(&mut [0]).await.unwrap();
        tells.send("what came").unwrap();
    });
    let (ask, _) = broadcast::channel(1);
    for _ in 0..9 {
        let (mut asked, tells) = (ask.subscribe(), tell.clone());
        let client = client.as_fd().try_clone_to_owned().unwrap();
        loops.spawn(async move {
            asked.recv().await.unwrap();
            // Who is not the first finds nobody there.
            std::os::unix::net::UnixStream::from(client).write_all(b"x").ok();
            tells.send("one was woken").unwrap();
        });
    }
    // They all wait when a task that began behind them has run.
    let (run, runs) = oneshot::channel();
    loops.spawn(async { run.send(()).unwrap() });
    runs.await.unwrap();
    let (go_on, goes_on) = mpsc::channel::<()>();
    loops.spawn(async move { goes_on.recv().unwrap() });
    ask.send(()).unwrap();
    go_on.send(()).unwrap();
    let order: Vec<_> = (0..10).map(|_| told.recv_timeout(LONG).unwrap()).collect();
    assert!(order[..9].contains(&"what came"), "{order:?}");
}

#[tokio::test]
async fn who_never_pauses_leaves_others_their_turn() {
    let loops = EventLoops::of(1, BATCH).unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    loops.spawn(async {
        let (mut one, mut other) = (StreamSocket::Unix(one), StreamSocket::Unix(other));
        // What is written can be read at once.
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
async fn a_turn_ends() {
    let loops = EventLoops::of(1, BATCH).unwrap();
    let (_client, mut socket) = connection().await;
    let (tell, told) = oneshot::channel();
    loops.spawn(async move {
        let mut written = 0;
        let within_a_turn = std::future::poll_fn(|cx| {
            assert!(has_budget_remaining());
            while let Poll::Ready(done) = Pin::new(&mut socket).poll_write(cx, b"x") {
                written += done.unwrap();
            }
            assert!(!has_budget_remaining());
            Poll::Ready(written)
        });
        tell.send(within_a_turn.await).unwrap();
    });
    let written = timeout(LONG, told).await.expect("it ends").unwrap();
    assert!((UNTIMED as usize..=BUDGET as usize).contains(&written), "{written}");
}

/// Takes turns without an end, each longer than it may be, and counts them in `turns`.
async fn flood(turns: Arc<AtomicUsize>) {
    std::future::poll_fn(|cx| {
        turns.fetch_add(1, Ordering::Relaxed);
        while goes_on(cx) {
            thread::sleep(TIME_SLICE / 10);
        }
        Poll::<()>::Pending
    })
    .await;
}

#[tokio::test]
async fn a_socket_waits_for_few_turns_of_tasks_that_flood_however_many_they_are() {
    const FLOODS: usize = 200;
    let loops = EventLoops::of(1, BATCH).unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    for _ in 0..FLOODS {
        loops.spawn(flood(turns.clone()));
    }
    let (mut client, socket) = connection().await;
    loops.spawn(echo(socket));
    // The first answer tells that all floods have begun: tasks begin in order.
    answers(&mut client, 1).await;
    let mut waited = Vec::new();
    for _ in 0..20 {
        let before = turns.load(Ordering::Relaxed);
        answers(&mut client, 1).await;
        waited.push(turns.load(Ordering::Relaxed) - before);
    }
    waited.sort_unstable();
    // Of the other threads' delays here, a median knows nothing.
    assert!(waited[waited.len() / 2] < FLOODS / 4, "{waited:?}");
}

#[tokio::test]
async fn after_a_turn_comes_another_whatever_the_task_waits_for() {
    let loops = EventLoops::of(1, BATCH).unwrap();
    let (_client, mut socket) = connection().await;
    let (tell, told) = oneshot::channel();
    loops.spawn(async move {
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            nothing_comes(&mut socket, cx);
            if polls == 2 {
                return Poll::Ready(());
            }
            while Pin::new(&mut socket).poll_write(cx, b"x").is_ready() {}
            assert!(!has_budget_remaining());
            nothing_comes(&mut socket, cx);
            Poll::Pending
        })
        .await;
        tell.send(()).unwrap();
    });
    timeout(LONG, told).await.expect("it is polled again").unwrap();
}

fn nothing_comes(socket: &mut StreamSocket, cx: &mut Context<'_>) {
    let mut buf = [0; 10];
    assert!(Pin::new(socket).poll_read(cx, &mut ReadBuf::new(&mut buf)).is_pending());
}

#[tokio::test]
async fn a_panic_ends_its_own_task() {
    let loops = EventLoops::of(1, BATCH).unwrap();
    let (mut client, socket) = connection().await;
    loops.spawn(echo(socket));
    let (mut unlucky, mut socket) = connection().await;
    loops.spawn(async move {
        socket.read_exact(&mut [0]).await.unwrap();
        panic!("as this test wants it");
    });
    unlucky.write_all(b"x").await.unwrap();
    assert_eq!(timeout(LONG, unlucky.read(&mut [0])).await.expect("an end").unwrap(), 0);
    answers(&mut client, 100).await;
}

/// Tells when it is dropped.
struct Tells(mpsc::Sender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

#[tokio::test]
async fn tasks_end_with_the_loops() {
    let loops = EventLoops::start().unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..10 {
        let (socket, tells) = (connection().await, Tells(tell.clone()));
        loops.spawn(async move {
            let _tells = tells;
            echo(socket.1).await;
            drop(socket.0);
        });
    }
    let same = loops.clone();
    drop(loops);
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "not all of them are gone");
    drop(same);
    for _ in 0..10 {
        told.recv_timeout(LONG).unwrap();
    }
}

#[tokio::test]
async fn a_task_goes_where_there_are_fewest() {
    let loops = EventLoops::of(3, BATCH).unwrap();
    let loads = || -> Vec<_> {
        loops.0.iter().map(|Remote(inbox)| inbox.load.load(Ordering::Relaxed)).collect()
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
    .expect("they end");
}
