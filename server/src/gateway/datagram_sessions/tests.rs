use std::io;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UdpSocket, UnixDatagram},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{net::stream::Transport, runtime::reception::ReceptionEnd};

/// More than any datagram of these tests, in bytes.
const MAX_DATAGRAM: usize = 256 * 1024;

/// A socket with sessions, which are put aside instead of relayed.
struct Rig {
    socket: Arc<DatagramSocket>,
    counters: Arc<Counters>,
    opened: Arc<Mutex<Vec<DatagramSession>>>,
    stop: ReceptionEnd,
    task: JoinHandle<()>,
}

fn rig(socket: DatagramSocket, max: usize) -> Rig {
    let (socket, counters) = (Arc::new(socket), Arc::<Counters>::default());
    let opened = Arc::<Mutex<Vec<_>>>::default();
    let (reception, stop) = Reception::until(CancellationToken::new());
    let sessions = opened.clone();
    let open = move |_: Sender, session| {
        let mut sessions = sessions.lock();
        let has_room = sessions.len() < max;
        if has_room {
            sessions.push(session);
        }
        has_room
    };
    let task = tokio::spawn(serve(socket.clone(), open, counters.clone(), reception));
    Rig { socket, counters, opened, stop, task }
}

async fn udp(address: &str, max: usize) -> Rig {
    rig(DatagramSocket::udp(UdpSocket::bind(address).await.unwrap()).unwrap(), max)
}

impl Rig {
    fn port(&self) -> u16 {
        let DatagramSocket::Udp(socket) = &*self.socket else { panic!("no UDP socket") };
        socket.local_addr().unwrap().port()
    }

    async fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", self.port())).await.unwrap();
        client
    }

    /// The next session that was opened.
    async fn session(&self) -> DatagramSession {
        self.until(|| !self.opened.lock().is_empty()).await;
        self.opened.lock().remove(0)
    }

    async fn until(&self, mut is_true: impl FnMut() -> bool) {
        timeout(Duration::from_secs(20), async {
            while !is_true() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it happens in time");
    }

    /// Waits until so many datagrams are dropped.
    async fn has_dropped(&self, count: u64) {
        self.until(|| self.counters.datagrams_dropped() >= count).await;
    }
}

async fn next(session: &mut DatagramSession) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let len = timeout(Duration::from_secs(20), session.read(&mut buffer)).await.unwrap().unwrap();
    (len > 0 || !session.has_read_end()).then(|| buffer[..len].to_vec())
}

/// Sends one datagram in one write.
async fn send(session: &mut DatagramSession, datagram: &[u8]) -> io::Result<()> {
    assert_eq!(session.write(datagram).await?, datagram.len());
    Ok(())
}

async fn received(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let len = timeout(Duration::from_secs(20), client.recv(&mut buffer)).await.unwrap().unwrap();
    buffer[..len].to_vec()
}

#[tokio::test]
async fn each_sender_has_a_session_whose_datagrams_keep_their_boundaries() {
    let rig = udp("127.0.0.1:0", 10).await;
    let (one, two) = (rig.client().await, rig.client().await);
    one.send(b"one").await.unwrap();
    let mut of_one = rig.session().await;
    two.send(b"two").await.unwrap();
    let mut of_two = rig.session().await;
    one.send(b"").await.unwrap();
    one.send(b"three").await.unwrap();
    assert_eq!(next(&mut of_two).await.unwrap(), b"two");
    for datagram in [&b"one"[..], b"", b"three"] {
        assert_eq!(next(&mut of_one).await.unwrap(), datagram);
    }
    send(&mut of_two, b"reply to two").await.unwrap();
    send(&mut of_one, b"").await.unwrap();
    send(&mut of_one, b"reply to one").await.unwrap();
    assert_eq!(received(&two).await, b"reply to two");
    assert_eq!(received(&one).await, b"");
    assert_eq!(received(&one).await, b"reply to one");
    assert_eq!(rig.counters.datagrams_dropped(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn replies_come_from_the_address_that_was_called() {
    let rig = udp("0.0.0.0:0", 10).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for last in [2, 3] {
        let called = ([127, 0, 0, last], rig.port());
        client.send_to(b"hello", std::net::SocketAddr::from(called)).await.unwrap();
        let mut session = rig.session().await;
        assert_eq!(next(&mut session).await.unwrap(), b"hello");
        send(&mut session, b"reply").await.unwrap();
        let (_, from) = client.recv_from(&mut [0; 10]).await.unwrap();
        assert_eq!(from, called.into());
    }
}

#[tokio::test]
async fn a_full_queue_drops_what_comes_last() {
    let rig = udp("127.0.0.1:0", 10).await;
    let client = rig.client().await;
    client.send(b"0").await.unwrap();
    let mut session = rig.session().await;
    let mut sent = 0_u32;
    while rig.counters.datagrams_dropped() == 0 {
        sent += 1;
        client.send(sent.to_string().as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    for number in 0..20 {
        assert_eq!(next(&mut session).await.unwrap(), number.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_refused_sender_is_asked_about_again() {
    let rig = udp("127.0.0.1:0", 1).await;
    let (one, two) = (rig.client().await, rig.client().await);
    one.send(b"one").await.unwrap();
    rig.until(|| rig.opened.lock().len() == 1).await;
    two.send(b"refused").await.unwrap();
    rig.has_dropped(1).await;
    let of_one = rig.session().await;
    two.send(b"accepted").await.unwrap();
    let mut of_two = rig.session().await;
    assert_eq!(next(&mut of_two).await.unwrap(), b"accepted");
    assert_eq!(rig.counters.datagrams_dropped(), 1, "each datagram is counted once");
    drop(of_one);
    one.send(b"again").await.unwrap();
    let mut of_one = rig.session().await;
    assert_eq!(
        next(&mut of_one).await.unwrap(),
        b"again",
        "a session that was dropped is replaced"
    );
}

#[tokio::test]
async fn an_end_of_the_output_ends_the_session_and_the_next_datagram_opens_another() {
    let rig = udp("127.0.0.1:0", 10).await;
    let client = rig.client().await;
    client.send(b"one").await.unwrap();
    let mut first = rig.session().await;
    first.shutdown().await.unwrap();
    client.send(b"two").await.unwrap();
    let mut second = rig.session().await;
    assert_eq!(next(&mut first).await.unwrap(), b"one");
    assert_eq!(next(&mut first).await, None);
    assert_eq!(next(&mut second).await.unwrap(), b"two");
}

#[tokio::test]
async fn sessions_end_when_the_socket_is_closed_and_may_still_reply() {
    let rig = udp("127.0.0.1:0", 10).await;
    let client = rig.client().await;
    client.send(b"question").await.unwrap();
    let mut session = rig.session().await;
    rig.stop.close();
    assert_eq!(next(&mut session).await.unwrap(), b"question");
    assert_eq!(next(&mut session).await, None);
    send(&mut session, b"answer").await.unwrap();
    assert_eq!(received(&client).await, b"answer");
    assert!(!rig.task.is_finished());
    drop(session);
    timeout(Duration::from_secs(1), rig.task).await.expect("at once").unwrap();
}

#[tokio::test]
async fn a_session_that_outlives_its_socket_fails() {
    let rig = udp("127.0.0.1:0", 10).await;
    rig.client().await.send(b"question").await.unwrap();
    let mut session = rig.session().await;
    rig.stop.close();
    rig.task.await.unwrap();
    assert!(session.has_failed());
    let error = send(&mut session, b"answer").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn unix_sockets_have_sessions_by_the_path_of_the_sender() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let socket = UnixDatagram::bind(path("server")).unwrap();
    let rig = rig(DatagramSocket::unixgram(socket, None), 10);
    let client = UnixDatagram::bind(path("client")).unwrap();
    client.connect(path("server")).unwrap();
    client.send(b"question").await.unwrap();
    let mut session = rig.session().await;
    assert_eq!(next(&mut session).await.unwrap(), b"question");
    send(&mut session, b"answer").await.unwrap();
    let mut buffer = [0; 10];
    assert_eq!(client.recv(&mut buffer).await.unwrap(), 6);
    while rig.counters.datagrams_dropped() == 0 {
        send(&mut session, b"into a queue that is full at some time").await.unwrap();
    }
    drop(client);
    let error = send(&mut session, b"nobody").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    std::fs::remove_file(path("client")).unwrap();
    let error = send(&mut session, b"no file").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    UnixDatagram::unbound().unwrap().send_to(b"unnamed", path("server")).await.unwrap();
    let mut unnamed = rig.session().await;
    assert_eq!(next(&mut unnamed).await.unwrap(), b"unnamed");
    let dropped = rig.counters.datagrams_dropped();
    send(&mut unnamed, b"a reply that no address can get").await.unwrap();
    assert_eq!(rig.counters.datagrams_dropped(), dropped + 1);
}

/// Sessions without the task that receives.
fn sessions(socket: UdpSocket) -> (Sessions<impl FnMut(Sender, DatagramSession) -> bool>, Rig) {
    let rig = rig(DatagramSocket::udp(socket).unwrap(), 10);
    rig.task.abort();
    let opened = rig.opened.clone();
    let sessions = Sessions {
        socket: rig.socket.clone(),
        counters: rig.counters.clone(),
        open: move |_: Sender, session| {
            opened.lock().push(session);
            true
        },
        live: HashMap::new(),
        ended: Vec::new(),
        tracker: TaskTracker::new(),
    };
    (sessions, rig)
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_is_idle_and_fails_if_its_relay_does_not_end() {
    let (mut sessions, rig) = sessions(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let client = rig.client().await;
    client.send(b"hello").await.unwrap();
    let mut buffer = [0; 100];
    let (len, from) = rig.socket.receive(&mut buffer).await.unwrap();
    sessions.receive(&mut buffer, len, from.clone()).await;
    let mut session = rig.session().await;
    assert_eq!(next(&mut session).await.unwrap(), b"hello");
    let mut at = Duration::ZERO;
    let mut sleep_until = async |seconds: u64| {
        sleep(
            Duration::from_secs(seconds) - std::mem::replace(&mut at, Duration::from_secs(seconds)),
        )
        .await;
    };
    sleep_until(20).await;
    send(&mut session, b"a reply is activity").await.unwrap();
    sleep_until(49).await;
    sessions.sweep();
    assert!(!session.has_ended());
    sleep_until(51).await;
    sessions.sweep();
    assert_eq!(next(&mut session).await, None);
    assert!(!session.has_failed());
    send(&mut session, b"a late reply").await.unwrap();
    sessions.receive(&mut buffer, len, from).await;
    assert_eq!(next(&mut rig.session().await).await.unwrap(), b"hello", "another session");
    sleep_until(110).await;
    sessions.sweep();
    assert!(!session.has_failed());
    sleep_until(112).await;
    sessions.sweep();
    assert!(session.has_failed());
    assert!(sessions.live.is_empty() && sessions.ended.is_empty());
}
