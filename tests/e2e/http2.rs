//! HTTP/2, and WebSocket over it (RFC 8441).

use std::{
    future::poll_fn,
    io::{ErrorKind, Read, Write},
    pin::Pin,
    process::Command,
    sync::Arc,
    time::Duration,
};

use echogate_tests::{
    server::{Server, WAIT_TIMEOUT},
    tcp::{noise, read_exactly, reset, write_until_blocked},
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWsServer, first},
};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http2::{Builder, SendRequest},
    ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use crate::{ECHOGATE, raise_own_limit, tap::Observer};

/// A server with HTTPS, and an HTTP/2 connection to it.
async fn connect(arguments: &[&str]) -> (Server, SendRequest<String>) {
    let (server, send, connection) = connect_with(arguments, &Builder::new(executor())).await;
    tokio::spawn(connection);
    (server, send)
}

fn executor() -> TokioExecutor {
    TokioExecutor::new()
}

/// The same with HTTP/2 settings of the client, and with the connection's future.
async fn connect_with(
    arguments: &[&str],
    client: &Builder<TokioExecutor>,
) -> (Server, SendRequest<String>, Connection) {
    let (server, stream) = connect_tls(arguments).await;
    let (send, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    (server, send, connection)
}

type Connection =
    hyper::client::conn::http2::Connection<TokioIo<TlsStream<TcpStream>>, String, TokioExecutor>;

/// A server with HTTPS, and a TLS connection to it that negotiated HTTP/2.
async fn connect_tls(arguments: &[&str]) -> (Server, TlsStream<TcpStream>) {
    let (server, connector) = start(arguments);
    let stream = connect_to(&server, &connector).await;
    (server, stream)
}

/// A server with HTTPS, and the TLS configuration of a client that trusts it and offers only HTTP/2.
fn start(arguments: &[&str]) -> (Server, TlsConnector) {
    let authority = Authority::with_certificate(&["localhost"]);
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.args(authority.flags()).args(arguments);
    let server = Server::spawn(command);
    let mut config = Arc::unwrap_or_clone(authority.trusted());
    config.alpn_protocols = vec![b"h2".to_vec()];
    (server, TlsConnector::from(Arc::new(config)))
}

/// Another TLS connection to a server.
async fn connect_to(server: &Server, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server.address("http")).await.unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// Waits for the end of a connection, orderly or not.
async fn wait_for_end(stream: &mut TlsStream<TcpStream>) {
    let read = async { while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    timeout(WAIT_TIMEOUT, read).await.expect("it is closed");
}

/// Connections to `upper`, each with an exchange: all of them are in `/api/connections`.
async fn upper_clients(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(server.address("upper")).await.unwrap();
        client.write_all(b"a").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        clients.push(client);
    }
    clients
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

/// An extended CONNECT to `path`.
fn handshake(path: &str, headers: &[(&str, &str)]) -> Request<String> {
    let mut request = get(path);
    *request.method_mut() = Method::CONNECT;
    for (name, value) in headers {
        let name = hyper::header::HeaderName::try_from(*name).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

fn get(path: &str) -> Request<String> {
    Request::get(format!("https://localhost{path}")).body(String::new()).unwrap()
}

/// A WebSocket connection on a new stream.
struct Client(TokioIo<Upgraded>);

impl Client {
    async fn over(response: Response<Incoming>) -> Client {
        assert_eq!(response.status(), StatusCode::OK);
        Client(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next message, with joined fragments and the first byte of an unfragmented one.
    async fn read_message(&mut self) -> (u8, Vec<u8>) {
        let (mut head, mut payload) = self.read().await;
        let opcode = head & 0x0f;
        while head & 0x80 == 0 {
            let (next, more) = self.read().await;
            assert_eq!(next & 0x0f, 0, "a continuation");
            payload.extend(more);
            head = next;
        }
        (0x80 | opcode, payload)
    }

    /// The next frame: its first byte, and its payload.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).await.unwrap();
            let len = match head[1] {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                len => u64::from(len),
            };
            let mut payload = vec![0; usize::try_from(len).unwrap()];
            self.0.read_exact(&mut payload).await.unwrap();
            (head[0], payload)
        };
        timeout(WAIT_TIMEOUT, read).await.expect("a frame")
    }

    async fn read_close(&mut self) -> (u16, String) {
        let (head, payload) = self.read().await;
        assert_eq!(head, first::CLOSE);
        let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
        (u16::from_be_bytes([payload[0], payload[1]]), reason)
    }
}

#[tokio::test]
async fn event_streams_leave_room_for_other_requests_of_their_connection() {
    let (_server, mut send) = connect(&[]).await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        let response = send.send_request(get("/api/events"));
        let response = timeout(WAIT_TIMEOUT, response).await.expect("an answer").unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        streams.push(response.into_body());
    }
    let health = timeout(WAIT_TIMEOUT, send.send_request(get("/healthz"))).await;
    assert_eq!(health.expect("an answer").unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_and_the_api_are_served_by_http_2() {
    let (_server, mut send) = connect(&[]).await;
    for path in ["/", "/healthz", "/api/connections"] {
        let response = send.send_request(get(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let response = send.send_request(get("/ws")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn websockets_share_one_http_2_connection_and_end_one_by_one() {
    let (mut server, mut send) = connect(&[]).await;
    let mut clients = Vec::new();
    for path in ["/ws", "/ws", "/ws/echo"] {
        let page = ("origin", "https://localhost");
        let ask = handshake(path, &[VERSION, page, ("sec-websocket-protocol", "any")]);
        let response = send.send_request(ask).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "any");
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        clients.push(Client::over(response).await);
    }
    let message = noise(300_000);
    for (i, client) in clients.iter_mut().enumerate() {
        for message in [&b"small"[..], b"", &message] {
            client.send(&ws::frame(first::BINARY, message)).await;
            let reply = if i < 2 { message.to_ascii_uppercase() } else { message.to_vec() };
            assert!(client.read_message().await == (first::BINARY, reply));
        }
    }
    let [first_client, others @ ..] = &mut clients[..] else { unreachable!() };
    first_client.send(&ws::close(1000, "")).await;
    assert_eq!(first_client.read_close().await.0, 1000);
    assert_eq!(first_client.0.read(&mut [0]).await.unwrap(), 0, "the stream ends");
    others[0].send(&ws::frame(first::TEXT, b"on")).await;
    assert_eq!(others[0].read().await.1, b"ON");

    server.signal("TERM");
    for client in others {
        assert_eq!(client.read_close().await, (1001, "the server is shutting down".to_owned()));
        client.send(&ws::close(1001, "")).await;
    }
    drop((clients, send));
    let status = spawn_blocking(move || server.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn refusals_are_the_same_as_over_http_1_1() {
    let (_server, mut send) = connect(&["--route", "/few=service:upper?max=1"]).await;
    for (path, headers, status) in [
        ("/few", &[][..], StatusCode::UPGRADE_REQUIRED),
        ("/few", &[("sec-websocket-version", "8")], StatusCode::UPGRADE_REQUIRED),
        ("/nowhere", &[VERSION], StatusCode::NOT_FOUND),
    ] {
        let response = send.send_request(handshake(path, headers)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let foreign = [VERSION, ("origin", "https://foreign.example")];
    let response = send.send_request(handshake("/few", &foreign)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "a program");
    let foreign = [&foreign[..], &[("sec-fetch-site", "cross-site")]].concat();
    let response = send.send_request(handshake("/few", &foreign)).await.unwrap();
    let (code, reason) = Client::over(response).await.read_close().await;
    assert!(code == 1008 && reason.contains("--allow-origin"), "{code} {reason}");
    let response = send.send_request(handshake("/few", &[VERSION])).await.unwrap();
    let _first = Client::over(response).await;
    let response = send.send_request(handshake("/few", &[VERSION])).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_its_upstream_back_and_no_other_stream() {
    let upstream = Upstream::new();
    let route = upstream.route("/flood", "bytes");
    let (server, mut send) = connect(&["--route", &route, "--route", "/upper=service:upper"]).await;
    let response = send.send_request(handshake("/flood", &[VERSION])).await.unwrap();
    let _stalled = Client::over(response).await;
    let before = server.memory("VmRSS");
    let flood = spawn_blocking(move || {
        let mut stream = upstream.accept();
        let bytes = vec![b'x'; 64 << 20];
        (write_until_blocked(&mut stream, &bytes), stream)
    });
    let (sent, _stream) = flood.await.unwrap();
    assert!(sent < 64 << 20, "it is held back");
    let grown = server.memory("VmRSS").saturating_sub(before);
    // Out of 64 MiB; the limit includes buffers that threads keep.
    assert!(grown < 8 << 10, "{grown} KiB");
    let response = send.send_request(handshake("/upper", &[VERSION])).await.unwrap();
    let mut other = Client::over(response).await;
    other.send(&ws::frame(first::TEXT, b"other")).await;
    assert_eq!(other.read().await.1, b"OTHER");
}

/// Sends bytes until flow control blocks them.
async fn send_until_blocked(client: &mut Client, bytes: &[u8]) {
    let mut sent = 0;
    while let Ok(written) = timeout(HELD_BACK, client.0.write(bytes)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "it is held back");
    }
}

/// The time without progress after which a write counts as blocked.
const HELD_BACK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn streams_whose_upstreams_do_not_read_leave_room_for_the_others() {
    let upstream = Upstream::new();
    let route = upstream.route("/stuck", "bytes");
    let (_server, mut send) =
        connect(&["--route", &route, "--route", "/upper=service:upper"]).await;
    let response = send.send_request(handshake("/upper", &[VERSION])).await.unwrap();
    let mut healthy = Client::over(response).await;
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let response = send.send_request(handshake("/stuck", &[VERSION])).await.unwrap();
        let mut client = Client::over(response).await;
        send_until_blocked(&mut client, &ws::frame(first::BINARY, &noise(100_000))).await;
        stuck.push(client);
    }
    let message = noise(300_000);
    healthy.send(&ws::frame(first::BINARY, &message)).await;
    assert!(healthy.read_message().await == (first::BINARY, message.to_ascii_uppercase()));
}

#[tokio::test]
async fn a_stream_that_is_reset_resets_its_upstream_though_replies_are_owed() {
    let upstream = Arc::new(Upstream::new());
    let route = upstream.route("/owing", "message");
    let (_server, stream) = connect_tls(&["--route", &route]).await;
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    // The response comes after the settings that allow an extended CONNECT.
    let (answer, _) = send.send_request(get("/healthz").map(drop), true).unwrap();
    answer.await.unwrap();
    for ends_before in [false, true] {
        let mut request = handshake("/owing", &[VERSION]).map(drop);
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        send = send.ready().await.unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        stream.send_data(ws::frame(first::BINARY, b"all").into(), ends_before).unwrap();
        let upstream = upstream.clone();
        let mut upstream = spawn_blocking(move || {
            let mut stream = upstream.accept();
            assert_eq!(read_exactly(&mut stream, 3), b"all");
            stream
        })
        .await
        .unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        let read = spawn_blocking(move || upstream.read(&mut [0])).await.unwrap();
        let error = read.expect_err("no end in order").kind();
        assert_eq!(error, ErrorKind::ConnectionReset, "ends before: {ends_before}");
    }
}

#[tokio::test]
async fn a_stream_that_is_ended_without_a_close_still_carries_the_replies_that_are_owed() {
    let upstream = Upstream::new();
    let (_server, mut send) = connect(&["--route", &upstream.route("/late", "message")]).await;
    let response = send.send_request(handshake("/late", &[VERSION])).await.unwrap();
    let mut client = Client::over(response).await;
    client.send(&ws::frame(first::TEXT, b"late")).await;
    client.0.shutdown().await.unwrap();
    let upstream = spawn_blocking(move || {
        let mut stream = upstream.accept();
        assert_eq!(read_exactly(&mut stream, 4), b"late");
        // Longer than the interval of keep-alive pings.
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"LATE").unwrap();
    });
    assert_eq!(client.read().await, (first::TEXT, b"LATE".to_vec()));
    upstream.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_carries_a_websocket_is_no_http_connection() {
    let limits = ["--header-timeout", "1h", "--max-per-address", "1"];
    let (server, connector) = start(&[&limits[..], &["--route", "/ws=service:upper"]].concat());
    let open = async || {
        let stream = TokioIo::new(connect_to(&server, &connector).await);
        let opened = Builder::new(executor()).handshake::<_, String>(stream).await;
        let (send, connection) = opened.unwrap();
        (send, tokio::spawn(connection))
    };
    let (mut send, _) = open().await;
    let response = send.send_request(handshake("/ws", &[VERSION])).await.unwrap();
    let mut client = Client::over(response).await;
    // The limit leaves one more HTTP connection for this address.
    let mut others = Vec::new();
    for _ in 0..2 {
        let (mut send, connection) = open().await;
        let response = send.send_request(get("/healthz")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        others.push((send, connection));
    }
    let (_third, end_of_third) = others.pop().unwrap();
    let (_second, end_of_second) = others.pop().unwrap();
    timeout(WAIT_TIMEOUT, end_of_second).await.expect("it is closed for the third").unwrap().ok();
    client.send(&ws::frame(first::TEXT, b"on")).await;
    assert_eq!(client.read().await.1, b"ON");
    // When its last WebSocket connection has ended, the first counts as an HTTP connection again.
    client.send(&ws::close(1000, "")).await;
    client.read_close().await;
    drop(client);
    timeout(WAIT_TIMEOUT, end_of_third).await.expect("it is closed for the first").unwrap().ok();
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let (_server, mut silent) = connect_tls(&["--header-timeout", "300ms"]).await;
    wait_for_end(&mut silent).await;
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_though_it_sends_pings() {
    let mut client = Builder::new(executor());
    client.timer(TokioTimer::new()).keep_alive_while_idle(true);
    client.keep_alive_interval(Duration::from_millis(50));
    let (_server, mut send, connection) =
        connect_with(&["--keep-alive-timeout", "300ms", "--header-timeout", "1h"], &client).await;
    let connection = tokio::spawn(connection);
    let response = send.send_request(get("/healthz")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    timeout(WAIT_TIMEOUT, connection).await.expect("it is closed").unwrap().expect("by GOAWAY");
}

#[tokio::test]
async fn answers_that_are_not_read_hold_little_memory() {
    const CONNECTIONS: usize = 500;
    const REQUESTS: usize = 200;
    raise_own_limit();
    let mut client = Builder::new(executor());
    client.initial_stream_window_size(1);
    let (server, send, connection) = connect_with(&[], &client).await;
    tokio::spawn(connection);
    let _connections = upper_clients(&server, CONNECTIONS).await;
    let before = server.memory("VmRSS");
    let asked = (0..REQUESTS).map(|_| send.clone().send_request(get("/api/connections")));
    let mut asked: JoinSet<_> = asked.collect();
    let mut answers = Vec::new();
    // The limit on concurrent responses of one connection.
    while answers.len() < 32 {
        let answer = timeout(WAIT_TIMEOUT, asked.join_next()).await.unwrap().unwrap();
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answers.push(answer);
    }
    let grown = server.memory("VmRSS").saturating_sub(before);
    // In full, each response would take 130 KiB.
    assert!(grown < 8 << 10, "{grown} KiB for {REQUESTS} answers");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_reset_though_others_are() {
    let (server, connector) = start(&["--write-timeout", "2s", "--header-timeout", "1h"]);
    // More than one chunk of the list holds.
    let _connections = upper_clients(&server, 100).await;
    let open = async |window| {
        let stream = TokioIo::new(connect_to(&server, &connector).await);
        let mut client = Builder::new(executor());
        client.initial_stream_window_size(window);
        let (send, connection) = client.handshake::<_, String>(stream).await.unwrap();
        tokio::spawn(connection);
        send
    };
    // Three connections occupy the limit on concurrent responses to /api/connections, and may have
    // other requests answered.
    let mut stalled = Vec::new();
    let mut sends = [open(100).await, open(100).await, open(100).await];
    for (send, answers) in sends.iter_mut().zip([22, 21, 21]) {
        for _ in 0..answers {
            let answer = send.send_request(get("/api/connections")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            stalled.push(answer.into_body());
        }
    }
    let mut other = open(1 << 20).await;
    let answer = other.send_request(get("/api/connections")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let read = async |body: &mut Incoming| poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    let start = Instant::now();
    loop {
        // These requests are answered all the time.
        for send in &mut sends {
            let answer = send.send_request(get("/healthz")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let answer = other.send_request(get("/api/connections")).await.unwrap();
        if answer.status() == StatusCode::OK {
            break;
        }
        assert!(start.elapsed() < WAIT_TIMEOUT, "the answers that stall are never given up");
        sleep(Duration::from_millis(50)).await;
    }
    // Responses whose timeout has not expired are complete once they are read.
    let mut reset = 0;
    for mut body in stalled {
        let end = timeout(WAIT_TIMEOUT, async {
            loop {
                match read(&mut body).await {
                    Some(Ok(_)) => {}
                    end => break end,
                }
            }
        });
        reset += usize::from(end.await.expect("each ends").is_some());
    }
    assert!(reset > 0, "the client gets a reset");
}

#[tokio::test]
async fn a_list_of_many_connections_is_whole() {
    const CONNECTIONS: usize = 200;
    let (server, mut send) = connect(&[]).await;
    let _connections = upper_clients(&server, CONNECTIONS).await;
    let mut body = send.send_request(get("/api/connections")).await.unwrap().into_body();
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        text.extend(frame.unwrap().into_data().unwrap());
    }
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted() && ids.len() == CONNECTIONS, "{ids:?}");
}

#[tokio::test]
async fn a_tap_shows_the_frames_of_a_websocket_over_http_2() {
    let (server, mut send) = connect(&["--http", "http://127.0.0.1:0"]).await;
    let response = send.send_request(handshake("/ws/echo", &[VERSION])).await.unwrap();
    let mut client = Client::over(response).await;
    client.send(&ws::frame(first::TEXT, b"hello")).await;
    assert_eq!(client.read().await.1, b"hello");
    let plain = server.urls("http").last().unwrap();
    let seen = spawn_blocking(move || {
        let address = plain.trim_start_matches("http://").trim_end_matches('/');
        let mut observer = Observer::at(address, 1, "client");
        let request = observer.opened().request.unwrap();
        assert!(request.starts_with("CONNECT /ws/echo HTTP/2\r\n"), "{request}");
        observer.lines(2)
    });
    assert_eq!(seen.await.unwrap(), ["client > text FIN hello", "client < text FIN hello"]);
    drop(server);
}

/// A WebSocket server behind the route `/x`, and a client of the route over HTTP/2. The connection
/// lives as long as `SendRequest`.
async fn connected_to_websocket(
    arguments: &[&str],
) -> (Client, RawWsServer, Server, SendRequest<String>) {
    let upstream = Upstream::new();
    let route = format!("/x=ws://{}/up", upstream.address());
    let accepting =
        upstream.serve(|stream| RawWsServer::accept(stream, &["Sec-WebSocket-Protocol: v2.chat"]));
    let arguments = [&["--route", &*route][..], arguments].concat();
    let (server, mut send) = connect(&arguments).await;
    let headers = [VERSION, ("sec-websocket-protocol", "v1.chat, v2.chat")];
    let response = send.send_request(handshake("/x", &headers)).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v2.chat");
    let client = Client::over(response).await;
    let upstream = spawn_blocking(move || accepting.join().unwrap()).await.unwrap();
    (client, upstream, server, send)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_between_http_2_and_a_websocket_server() {
    let (mut client, mut upstream, _server, _send) = connected_to_websocket(&[]).await;
    assert_eq!(upstream.request[0], "GET /up HTTP/1.1");
    client.send(&ws::frame(first::TEXT_BEGINS, b"in ")).await;
    client.send(&ws::frame(first::PING, b"here")).await;
    client.send(&ws::frame(first::LAST, b"parts")).await;
    assert_eq!(client.read().await, (first::PONG, b"here".to_vec()));
    let frames = [upstream.read(), upstream.read()].map(|frame| (frame.first, frame.payload));
    assert_eq!(frames, [(first::TEXT_BEGINS, b"in ".to_vec()), (first::LAST, b"parts".to_vec())]);
    let data = noise(50_000);
    upstream.send_frame(first::BINARY, &data);
    assert!(client.read_message().await == (first::BINARY, data));
    upstream.close(1012, "back at noon");
    assert_eq!(client.read_close().await, (1012, "back at noon".to_owned()));
    client.send(&ws::close(1012, "seen")).await;
    assert_eq!(upstream.read().close(), (Some(1012), "seen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_passes_between_http_2_and_a_websocket_server() {
    let (mut client, mut upstream, _server, _send) = connected_to_websocket(&[]).await;
    upstream.send_frame(first::TEXT, b"last words");
    reset(upstream.stream);
    assert_eq!(client.read().await.1, b"last words");
    assert_eq!(client.read_close().await.0, 1011);

    let (mut client, mut upstream, server, send) = connected_to_websocket(&[]).await;
    client.send(&ws::frame(first::TEXT, b"last words")).await;
    assert_eq!(upstream.read().payload, b"last words");
    // RST_STREAM.
    drop(client);
    assert_eq!(upstream.try_read().unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.wait_for_log(&["id=1", "1006"]);
    drop(send);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_http_2_client_of_a_websocket_server_is_pinged_and_given_up() {
    let times = ["--ping-interval", "100ms", "--ping-timeout", "300ms"];
    let (mut client, mut upstream, _server, _send) = connected_to_websocket(&times).await;
    assert_eq!(client.read().await.0, first::PING);
    let ended = spawn_blocking(move || {
        loop {
            match upstream.try_read() {
                Ok(Some(ping)) => {
                    assert_eq!(ping.first, first::PING);
                    upstream.send_frame(first::PONG, &ping.payload);
                }
                end => break end.map_err(|e| e.kind()),
            }
        }
    });
    assert_eq!(ended.await.unwrap(), Err(ErrorKind::ConnectionReset));
}
