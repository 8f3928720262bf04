use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

#[test]
fn a_proxy_is_a_url_whose_credentials_are_not_shown() {
    for (text, url) in [
        ("http://p:3128", "http://p:3128"),
        ("p:3128", "http://p:3128"),
        ("p", "http://p:80"),
        ("HTTP://p/", "http://p:80"),
        ("socks5://p", "socks5://p:1080"),
        ("socks5h://[::1]:9", "socks5h://[::1]:9"),
        ("socks5h://[::1]", "socks5h://[::1]:1080"),
        ("http://user:pass%20word@p", "http://p:80"),
        ("http://user@p:1", "http://p:1"),
    ] {
        let proxy: Proxy = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(proxy.to_string(), url, "{text}");
        assert_eq!(format!("{proxy:?}"), format!("Proxy({url})"));
    }
    let proxy: Proxy = "socks5://us%3Aer:p%40ss:w@p".parse().unwrap();
    let credentials = proxy.credentials.unwrap();
    assert_eq!((&*credentials.user, &*credentials.password), ("us:er", "p@ss:w"));
}

#[test]
fn an_invalid_proxy_is_refused_with_the_reason() {
    for (text, why) in [
        ("https://p", "TLS to a proxy is not supported"),
        ("socks4://p", "socks4:// is not supported for a proxy: expected http://, socks5://"),
        ("http://", "the address of the proxy"),
        ("http://p:x", "the address of the proxy"),
        ("http://p:0", "port 0"),
        ("http://p:80/path", "the address of the proxy"),
        ("http://a%3Ab:c@p", "contains a colon"),
        ("socks5://user@p", "1 to 255 bytes"),
        ("socks5://u:%ff@p", "not UTF-8"),
    ] {
        let error = text.parse::<Proxy>().unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

/// Connects to `h.example:7` through a proxy that checks for the requests and sends the replies
/// of `script` byte by byte; returns what arrives after the last reply, or the error.
async fn connected(scheme: &str, script: &[(&[u8], &[u8])]) -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}{}", listener.local_addr().unwrap());
    let script: Vec<_> =
        script.iter().map(|(asks, sends)| (asks.to_vec(), sends.to_vec())).collect();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        for (asks, sends) in script {
            let mut asked = vec![0; asks.len()];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked.escape_ascii().to_string(), asks.escape_ascii().to_string());
            for byte in sends {
                // A client that has its answer closes the connection.
                stream.write_all(&[byte]).await.ok();
                tokio::task::yield_now().await;
            }
        }
    });
    let host = "h.example:7".parse().unwrap();
    let destination =
        Destination { host, proxy: Some(url.parse().unwrap()), options: ConnectOptions::default() };
    let connected = connect(&destination, Instant::now() + Duration::from_secs(10)).await;
    serving.await.unwrap();
    match connected {
        Ok(mut stream) => {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            Ok(rest)
        }
        Err(ConnectionError::Proxy(error)) => {
            let text = error.to_string();
            Err(text.split_once(": ").unwrap().1.to_owned())
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn bytes_behind_the_response_of_an_http_proxy_are_left_to_the_caller() {
    let request = b"CONNECT h.example:7 HTTP/1.1\r\nHost: h.example:7\r\n\r\n";
    let head = format!("HTTP/1.1 200 Connected\r\nX: {}\r\n\r\nSSH-2.0", "x".repeat(5000));
    let connected = connected("http://", &[(request, head.as_bytes())]).await;
    assert_eq!(connected.unwrap(), "SSH-2.0");
}

#[tokio::test]
async fn an_http_proxy_gets_the_credentials_and_its_status_is_reported() {
    let request = b"CONNECT h.example:7 HTTP/1.1\r\nHost: h.example:7\r\n\
                    Proxy-Authorization: Basic dTpw\r\n\r\n";
    for (response, result) in [
        ("HTTP/1.0 204\r\n\r\n", Ok("")),
        ("HTTP/1.1 403 Filtered\r\n\r\n", Err("403 Filtered")),
        ("HTTP/1.1 502\r\n\r\nbody", Err("502")),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            Err("407 Proxy Authentication Required: the user name or password is wrong"),
        ),
        ("SSH-2.0-OpenSSH\r\n", Err("the proxy's response is not HTTP")),
        ("HTTP/1.1 200", Err("the proxy closed the connection without an answer")),
    ] {
        let connected = connected("http://u:p@", &[(request, response.as_bytes())]).await;
        let result = result.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(connected, result, "{response}");
    }
    let request = b"CONNECT h.example:7 HTTP/1.1\r\nHost: h.example:7\r\n\r\n";
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    let error = connected("http://", &[(request, endless.as_bytes())]).await.unwrap_err();
    assert_eq!(error, "the head of the proxy's response exceeds 16 KiB");
    let response = b"HTTP/1.1 407 Auth\r\n\r\n";
    let error = connected("http://", &[(request, response)]).await.unwrap_err();
    assert!(error.starts_with("407 Auth: its URL needs a user name and password"), "{error}");
}

const NO_AUTHENTICATION: (&[u8], &[u8]) = (&[5, 1, 0], &[5, 0]);

/// The request for `h.example:7` by name.
const BY_NAME: &[u8] = b"\x05\x01\0\x03\x09h.example\0\x07";

#[tokio::test]
async fn a_socks_proxy_resolves_the_name_and_its_reply_may_have_any_address() {
    for reply in [
        &b"\x05\0\0\x01\x7f\0\0\x01\0\x07hello"[..],
        b"\x05\0\0\x03\x02ab\0\x07hello",
        b"\x05\0\0\x04ABCDEFGHIJKLMNOP\0\x07hello",
    ] {
        let connected = connected("socks5h://", &[NO_AUTHENTICATION, (BY_NAME, reply)]).await;
        assert_eq!(connected.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_name_that_is_too_long_for_socks_is_an_error_before_the_proxy_is_connected_to() {
    let host = HostPort { host: "x".repeat(256), port: 7 };
    let proxy = Some("socks5h://127.0.0.1:1".parse().unwrap());
    let destination = Destination { host, proxy, options: ConnectOptions::default() };
    let error = connect(&destination, Instant::now() + Duration::from_secs(10)).await;
    let Err(ConnectionError::Proxy(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "proxy socks5h://127.0.0.1:1: the host name has no address");
}

#[tokio::test]
async fn a_socks_proxy_gets_the_credentials_if_it_asks_for_them() {
    let reply = b"\x05\0\0\x01\x7f\0\0\x01\0\x07hello";
    let accepted =
        [(&[5, 2, 0, 2][..], &[5, 2][..]), (b"\x01\x01u\x02pw", &[1, 0]), (BY_NAME, reply)];
    assert_eq!(connected("socks5h://u:pw@", &accepted).await.unwrap(), "hello");
    let not_asked = [(&[5, 2, 0, 2][..], &[5, 0][..]), (BY_NAME, reply)];
    assert_eq!(connected("socks5h://u:pw@", &not_asked).await.unwrap(), "hello");
    let wrong = [(&[5, 2, 0, 2][..], &[5, 2][..]), (b"\x01\x01u\x02pw", &[1, 1])];
    let error = connected("socks5h://u:pw@", &wrong).await.unwrap_err();
    assert_eq!(error, "the user name or password is wrong");
}

#[tokio::test]
async fn the_reply_of_a_socks_proxy_is_reported_in_words() {
    for (script, error) in [
        (&[(&[5, 1, 0][..], &[5, 0xff][..])][..], "authentication is required"),
        (
            &[NO_AUTHENTICATION, (BY_NAME, b"\x05\x05\0\x01\0\0\0\0\0\0")],
            "the destination refused the connection (SOCKS reply 5)",
        ),
        (&[NO_AUTHENTICATION, (BY_NAME, b"\x05\x63\0\x01\0\0\0\0\0\0")], "(SOCKS reply 99)"),
        (&[(&[5, 1, 0], b"HTTP/1.1 400 Bad Request\r\n")], "not SOCKS5"),
        (&[(&[5, 1, 0], b"\x05")], "the proxy closed the connection without an answer"),
    ] {
        let reported = connected("socks5h://", script).await.unwrap_err();
        assert!(reported.contains(error), "{reported}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let host: HostPort = "h.example:7".parse().unwrap();
    let destination =
        Destination { host, proxy: Some(url.parse().unwrap()), options: ConnectOptions::default() };
    // The proxy accepts and does not answer.
    let silent = connect(&destination, Instant::now() + Duration::from_millis(20)).await;
    let Err(ConnectionError::Proxy(silent)) = silent else { panic!("{silent:?}") };
    assert_eq!(silent.to_string(), format!("proxy {url}: no answer"));
    drop(listener);
    let gone = connect(&destination, Instant::now() + Duration::from_secs(10)).await;
    let Err(ConnectionError::Proxy(gone)) = gone else { panic!("{gone:?}") };
    assert_eq!(gone.to_string(), format!("proxy {url}: connection refused"));
}
