//! HTTP/2, and WebSocket on its streams (RFC 8441).

use std::{process::Command, sync::Arc};

use echogate_tests::{
    server::{PATIENCE, Server},
    tcp::{noise, write_until_held_back},
    tls::Authority,
    upstream::Upstream,
    ws::{self, first},
};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, client::conn::http2::SendRequest,
    ext::Protocol, upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::ECHOGATE;

/// A server by HTTPS, and a connection to it by HTTP/2.
async fn connect(arguments: &[&str]) -> (Server, SendRequest<String>) {
    let authority = Authority::new();
    authority.install(&authority.issue(&["localhost"]));
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.args(authority.flags()).args(arguments);
    let server = Server::spawn(command);
    let mut config = Arc::unwrap_or_clone(authority.trusted());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address("http")).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let executor = TokioExecutor::new();
    let made = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await;
    let (send, connection) = made.unwrap();
    tokio::spawn(connection);
    (server, send)
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

/// A WebSocket on a stream of its own.
struct Client(TokioIo<Upgraded>);

impl Client {
    async fn over(response: Response<Incoming>) -> Client {
        assert_eq!(response.status(), StatusCode::OK);
        Client(TokioIo::new(hyper::upgrade::on(response).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame: its first byte, and what it carries.
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
        timeout(PATIENCE, read).await.expect("a frame")
    }

    async fn read_close(&mut self) -> (u16, String) {
        let (head, payload) = self.read().await;
        assert_eq!(head, first::CLOSE);
        let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
        (u16::from_be_bytes([payload[0], payload[1]]), reason)
    }
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
            assert!(client.read().await == (first::BINARY, reply));
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
async fn what_is_refused_is_told_as_over_http_1_1() {
    let (_server, mut send) = connect(&["--route", "/few=service:upper?max=1"]).await;
    for (path, headers, status) in [
        ("/few", &[][..], StatusCode::UPGRADE_REQUIRED),
        ("/few", &[("sec-websocket-version", "8")], StatusCode::UPGRADE_REQUIRED),
        ("/nowhere", &[VERSION], StatusCode::NOT_FOUND),
    ] {
        let response = send.send_request(handshake(path, headers)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let stranger = [VERSION, ("origin", "https://stranger.example")];
    let response = send.send_request(handshake("/few", &stranger)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "a program");
    let stranger = [&stranger[..], &[("sec-fetch-site", "cross-site")]].concat();
    let response = send.send_request(handshake("/few", &stranger)).await.unwrap();
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
        (write_until_held_back(&mut stream, &bytes), stream)
    });
    let (sent, _stream) = flood.await.unwrap();
    assert!(sent < 64 << 20, "it is held back");
    let grown = server.memory("VmRSS").saturating_sub(before);
    // Of 64 MiB, with the buffers that threads keep.
    assert!(grown < 8 << 10, "{grown} KiB");
    let response = send.send_request(handshake("/upper", &[VERSION])).await.unwrap();
    let mut other = Client::over(response).await;
    other.send(&ws::frame(first::TEXT, b"other")).await;
    assert_eq!(other.read().await.1, b"OTHER");
}
