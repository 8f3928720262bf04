//! Pipe mode over WebSocket: the messages sent and received, and the exit status of each ending.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use tokio_tungstenite::tungstenite::{
    Message, WebSocket, accept, accept_hdr,
    handshake::server::{Request, Response},
    protocol::CloseFrame,
};

use super::{assert_fails, assert_prints, connect, finish, run, serve, upper};

/// Starts a WebSocket server for one connection; returns its URL.
fn serve_ws(connection: impl FnOnce(WebSocket<TcpStream>) + Send + 'static) -> String {
    let address = serve(|stream| connection(accept(stream).unwrap()));
    format!("ws://{address}/ws")
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

/// Starts a server that sends `message` and then reads to the end of the connection.
fn saying(message: Message) -> String {
    serve_ws(move |mut socket| {
        socket.send(message).unwrap();
        while socket.read().is_ok() {}
    })
}

#[test]
fn binary_input_goes_out_in_messages_of_at_most_64_kib() {
    let (sender, messages) = std::sync::mpsc::channel();
    let url = serve_ws(move |mut socket| {
        while let Ok(message) = socket.read() {
            sender.send(message).unwrap();
        }
    });
    let data = vec![7; 200_000];
    assert_prints(&run(&[&url, "--binary", "--wait=0s"], &data), b"");
    let mut messages: Vec<Message> = messages.iter().collect();
    assert_eq!(messages.pop().unwrap(), close(1000, ""));
    assert!(messages.iter().all(|message| message.is_binary() && message.len() <= 65536));
    assert_eq!(messages.into_iter().flat_map(Message::into_data).collect::<Vec<_>>(), data);
}

#[test]
fn the_payload_of_text_and_binary_messages_is_what_is_printed() {
    let url = serve_ws(|mut socket| {
        socket.send(Message::text("text ß, ")).unwrap();
        socket.send(Message::Ping("ignored".into())).unwrap();
        socket.send(Message::binary(vec![0, 0xff])).unwrap();
        socket.send(Message::text("")).unwrap();
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    assert_prints(
        &finish(connect(&[&url, "--binary"])),
        "text ß, \0".bytes().chain([0xff]).collect::<Vec<_>>().as_slice(),
    );
}

#[test]
fn what_the_server_owes_after_the_close_is_still_printed() {
    let url = serve_ws(|mut socket| {
        assert_eq!(socket.read().unwrap(), Message::binary(&b"all of it"[..]));
        assert_eq!(socket.read().unwrap(), close(1000, ""));
        // Tungstenite sends the reply at the next call.
        socket.get_mut().write_all(b"\x82\x04owed").unwrap();
        socket.read().ok();
    });
    let output = run(&[&url, "--binary", "--wait=300ms"], b"all of it");
    assert_prints(&output, b"owed");
}

#[test]
fn a_clean_close_by_the_server_is_a_success() {
    for code in [1000, 1001] {
        let url = saying(close(code, "done"));
        assert_prints(&finish(connect(&[&url])), b"");
    }
    assert_prints(&finish(connect(&[&saying(Message::Close(None))])), b"");
}

#[test]
fn any_other_close_is_a_failure_with_its_code_words_and_reason() {
    let url = saying(close(1011, "upstream \x1b[31mreset"));
    let line = format!(
        "{url}: closed by the server (1011, the server or its upstream failed): \
         upstream \\x1b[31mreset"
    );
    assert_fails(&finish(connect(&[&url])), 1, &line);
    let url = saying(close(4000, ""));
    let line = format!("{url}: closed by the server (4000, a code private to the application)");
    assert_fails(&finish(connect(&[&url])), 1, &line);
}

#[test]
fn an_end_without_a_close_is_a_failure() {
    let url = serve_ws(drop);
    let line = format!("{url}: the connection ended without a Close frame (1006)");
    assert_fails(&finish(connect(&[&url])), 1, &line);
}

#[test]
fn a_message_beyond_the_limit_is_refused_with_1009() {
    let (sender, received) = std::sync::mpsc::channel();
    let url = serve_ws(move |mut socket| {
        // Only the header of a frame of 1 GiB.
        socket.get_mut().write_all(b"\x82\x7f\0\0\0\0\x40\0\0\0").unwrap();
        sender.send(socket.read().unwrap()).unwrap();
    });
    let line = format!("{url}: a message of 1073741824 bytes exceeds the limit of 16777216 bytes");
    assert_fails(&finish(connect(&[&url])), 1, &line);
    assert_eq!(received.recv().unwrap(), close(1009, ""));
}

#[test]
fn a_closed_standard_output_says_going_away_and_is_a_failure() {
    let (sender, received) = std::sync::mpsc::channel();
    let url = serve_ws(move |mut socket| {
        let mut writer = socket.get_ref().try_clone().unwrap();
        thread::spawn(move || while writer.write_all(b"\x82\x04blah").is_ok() {});
        sender.send(socket.read().unwrap()).unwrap();
    });
    let mut client = connect(&[&url]);
    client.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    assert_fails(&finish(client), 1, &format!("{url}: standard output: broken pipe"));
    assert_eq!(received.recv().unwrap(), close(1001, ""));
}

#[test]
fn a_refused_handshake_is_named_with_status_and_first_line() {
    let address = serve(|mut stream| {
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 26\r\n\r\n").unwrap();
        stream.write_all(b"no route \"/nope\"\r\nand more").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let url = format!("ws://{address}/nope");
    let line = format!("{url}: the server responded 404 Not Found: no route \"/nope\"");
    assert_fails(&run(&[&url], b""), 1, &line);
}

#[test]
fn a_server_that_speaks_no_http_is_named_as_such() {
    let url = format!("ws://{}/ws", serve(upper));
    let line = format!("{url}: the response is not HTTP");
    assert_fails(&run(&[&url], b""), 1, &line);
}

#[test]
fn the_request_has_the_query_the_origin_the_headers_and_the_protocols() {
    let address = serve(|stream| {
        let mut seen = String::new();
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let callback = |request: &Request, mut response: Response| {
            let header = |name| request.headers()[name].to_str().unwrap();
            seen = format!(
                "{} {} {} {}",
                request.uri(),
                header("origin"),
                header("x-key"),
                header("sec-websocket-protocol")
            );
            response.headers_mut().insert("sec-websocket-protocol", "b".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr(stream, callback).unwrap();
        socket.send(Message::text(seen)).unwrap();
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{address}/a?b=c");
    let arguments =
        [&url, "--origin", "http://o", "--header", "X-Key: 1", "--protocol=a", "--protocol=b"];
    assert_prints(&run(&arguments, b""), b"/a?b=c http://o 1 a, b\n");
}

#[test]
fn with_half_close_a_server_that_ends_its_side_first_gets_all_of_the_input() {
    let address = serve(|stream| {
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let callback = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "half-close".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr(stream, callback).unwrap();
        socket.send(Message::text("enough")).unwrap();
        socket.send(Message::Binary(Vec::new().into())).unwrap();
        let mut len = 0;
        loop {
            match socket.read().unwrap() {
                Message::Binary(bytes) if bytes.is_empty() => break,
                message => len += message.len(),
            }
        }
        socket.close(Some(CloseFrame { code: 1000.into(), reason: "".into() })).unwrap();
        assert_eq!(len, 2_000_000);
        while socket.read().is_ok() {}
    });
    let url = format!("ws://{address}/");
    assert_prints(&run(&[&url, "--half-close", "--binary"], &vec![b'x'; 2_000_000]), b"enough");
}

#[test]
fn an_input_that_cannot_be_sent_after_a_close_is_a_failure_that_says_how_much() {
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let url = serve_ws(move |mut socket| {
        socket.read().unwrap();
        socket.get_mut().write_all(b"\x88\x02\x03\xe8").unwrap();
        // Nothing more is read.
        ended.recv().ok();
    });
    let output = run(&[&url, "--binary"], &vec![b'x'; 32 << 20]);
    drop(done);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let words = format!("echogate: {url}: closed by the server before all input was sent: ");
    assert!(stderr.starts_with(&words) && stderr.ends_with(" bytes were not sent\n"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
