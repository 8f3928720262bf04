use std::time::Duration;

use http::{HeaderValue, header};
use tokio::io::{AsyncReadExt, duplex};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{response::MAX_HEAD, *};

/// The handshake of `ws://h:1/x?y`.
fn opening<'a>(at: &'a HostPort, headers: &'a HeaderMap) -> Opening<'a> {
    Opening { role: "server", at, tls: false, path: "/x?y", headers }
}

fn host() -> HostPort {
    "h:1".parse().unwrap()
}

/// Performs the handshake with a server that sends `answer`, in which `KEY` stands for the
/// right `Sec-WebSocket-Accept`.
async fn opened_offering(protocols: &str, answer: &str) -> Result<Established, OpeningError> {
    let (mut ours, theirs) = duplex(1 << 17);
    let answer = answer.to_owned();
    let server = async move {
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(reader.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap();
        let key = derive_accept_key(key.lines().next().unwrap().as_bytes());
        writer.write_all(answer.replace("KEY", &key).as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
        reader.read_to_end(&mut Vec::new()).await.ok();
    };
    let mut headers = HeaderMap::new();
    if !protocols.is_empty() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
    }
    let (at, deadline) = (host(), Instant::now() + Duration::from_secs(30));
    let opening = opening(&at, &headers);
    tokio::select! {
        opened = opening.perform(&mut ours, deadline) => opened,
        () = server => panic!("the client has disconnected"),
    }
}

async fn opened(answer: &str) -> Result<Established, OpeningError> {
    opened_offering("", answer).await
}

/// The error of a handshake that `answer` fails.
async fn error(answer: &str) -> String {
    opened(answer).await.unwrap_err().to_string()
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n";

#[test]
fn headers_of_the_user_are_added_and_replace_the_default_ones() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_static("2"));
    headers.append("host", HeaderValue::from_static("other"));
    headers.append("sec-websocket-protocol", HeaderValue::from_static("a, b"));
    let request = request::encode(&opening(&host(), &headers), "K");
    assert_eq!(
        String::from_utf8(request).unwrap(),
        "GET /x?y HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: K\r\nX-A: 1\r\nX-A: 2\r\n\
         Host: other\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
    );
}

#[tokio::test]
async fn a_101_is_accepted_in_every_form_that_the_rfcs_allow() {
    let forms = ["keep-alive, Upgrade", "upgrade, Keep-Alive", "Upgrade, close"];
    let mut answers: Vec<String> = forms
        .map(|form| GOOD.replace("Connection: Upgrade", &format!("Connection: {form}")))
        .into();
    let two = "Connection: keep-alive\r\nConnection: Upgrade";
    answers.push(GOOD.replace("Connection: Upgrade", two));
    answers.push(format!("{GOOD}Sec-WebSocket-Extensions: \r\n"));
    for interim in ["100 Continue", "102 Processing", "103 Early Hints\r\nLink: </a>"] {
        answers.push(format!("HTTP/1.1 {interim}\r\n\r\n").repeat(2) + GOOD);
    }
    for answer in answers {
        let agreed = opened(&format!("{answer}\r\nframes")).await.expect(&answer);
        assert_eq!((agreed.protocol, &*agreed.early), (None, &b"frames"[..]), "{answer}");
    }
    let chosen = format!("{GOOD}Sec-WebSocket-Protocol: b\r\n\r\n");
    let agreed = opened_offering("a, b", &chosen).await.unwrap();
    assert_eq!(agreed.protocol.as_deref(), Some("b"));
}

#[tokio::test]
async fn an_invalid_101_response_is_refused_with_the_reason() {
    for (answer, complaint) in [
        (GOOD.replace("WebSocket", "h2c"), "the 101 response has no \"Upgrade: websocket\""),
        (GOOD.replace("n: Upgrade", "n: close"), "the 101 response has no \"Connection: upgrade\""),
        (GOOD.replace("KEY", "x"), "Sec-WebSocket-Accept does not match the key of the request"),
        (GOOD.replace("Sec-", "X-"), "the 101 response has no Sec-WebSocket-Accept"),
        (
            format!("{GOOD}Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n"),
            "the server selected the extension \"permessage-deflate; x=1\", which was not offered",
        ),
        (
            format!("{GOOD}Sec-WebSocket-Protocol: mqtt\r\n"),
            "the server selected the subprotocol \"mqtt\", which was not offered",
        ),
    ] {
        assert_eq!(error(&format!("{answer}\r\n")).await, complaint);
    }
}

#[tokio::test]
async fn a_rejection_is_reported_with_its_status_and_its_first_line() {
    for (answer, words) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\nno route\x1b[2J\nmore",
            "the server responded 404 Not Found: no route\\x1b[2J",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>",
            "the server responded 502 Bad Gateway",
        ),
        (
            "HTTP/1.1 503\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
            "the server responded 503 Service Unavailable: busy",
        ),
        (
            "HTTP/1.1 301 Moved Permanently\r\nLocation: wss://h/\r\nContent-Length: 0\r\n\r\n",
            "the server responded 301 Moved Permanently to wss://h/",
        ),
    ] {
        assert_eq!(error(answer).await, words);
    }
}

#[tokio::test]
async fn a_response_that_is_no_handshake_is_reported() {
    let closed = "the server closed the connection during the WebSocket handshake";
    for (answer, words) in [
        ("GET /X HTTP/1.1\r\n", "the response is not HTTP"),
        (
            "\x15\x03\x03\0\x02\x02\x46",
            "the response is TLS, not HTTP: use wss:// instead of ws://",
        ),
        ("", closed),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", closed),
    ] {
        assert_eq!(error(answer).await, words);
    }
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2 * MAX_HEAD));
    let words = "the head of the response to the WebSocket handshake exceeds 64 KiB";
    assert_eq!(error(&endless[..MAX_HEAD + 5000]).await, words);
}

#[tokio::test]
async fn a_server_may_select_none_of_the_offered_subprotocols() {
    let opened = opened_offering("a, b", &format!("{GOOD}\r\n")).await.unwrap();
    assert_eq!(opened.protocol, None);
}

#[tokio::test]
async fn a_rejection_has_its_status_and_its_headers() {
    let answer = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let Err(OpeningError::Rejected(rejection)) = opened(answer).await else { panic!() };
    assert_eq!(rejection.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rejection.headers[header::RETRY_AFTER], "7");
    assert_eq!(rejection.to_string(), "the server responded 503 Busy");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_respond_times_out() {
    let (mut ours, _theirs) = duplex(4096);
    let (at, headers) = (host(), HeaderMap::new());
    let opened = opening(&at, &headers).perform(&mut ours, Instant::now()).await;
    assert!(matches!(opened, Err(OpeningError::TimedOut)), "{opened:?}");
}
