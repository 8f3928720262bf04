//! The framings, with upstreams that the tests control.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixListener,
    sync::mpsc,
    thread,
};

use echogate_tests::{
    server::Server,
    tcp::{noise, read_exactly, read_to_end, reset, wait_until_read},
    ws::{self, Frame, RawWs, first},
};

use crate::{ECHOGATE, connected, with_upstream};

/// Messages (opcode and payload), and the code and the reason of the Close frame after them.
type Delivered = (Vec<(u8, Vec<u8>)>, Option<u16>, String);

/// Reads messages up to the Close frame, and joins fragments.
fn messages_to_close(client: &mut RawWs) -> Delivered {
    let mut messages: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut open = false;
    loop {
        let frame = client.read();
        if frame.first == first::CLOSE {
            let (code, reason) = frame.close();
            assert!(!open, "a Close inside a message");
            return (messages, code, reason.to_owned());
        }
        assert_eq!(frame.first & 0xf == 0, open, "a fragment where one belongs: {frame:?}");
        if open {
            messages.last_mut().unwrap().1.extend(frame.payload);
        } else {
            messages.push((frame.first & 0xf, frame.payload));
        }
        open = frame.first & 0x80 == 0;
    }
}

/// The messages that a client gets when the upstream sends these pieces, each after the previous
/// one has been read, and then ends the stream.
fn delivered(framing: &str, pieces: &'static [&[u8]]) -> Delivered {
    delivered_by(framing, move |mut stream| {
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            stream.write_all(piece).unwrap();
            wait_until_read(&stream);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(read_to_end(&mut stream).is_empty(), "the client sent nothing");
    })
}

/// The messages that a silent client gets from an upstream that runs this script.
fn delivered_by(framing: &str, script: impl FnOnce(TcpStream) + Send + 'static) -> Delivered {
    let (server, upstream) = with_upstream(framing, &[]);
    let serving = upstream.serve(script);
    let mut client = RawWs::connect(&server, "/x");
    let got = messages_to_close(&mut client);
    client.send(&ws::close(1000, ""));
    serving.join().unwrap();
    got
}

/// The bytes that an upstream gets from a client that sends these frames and a Close.
fn collected(framing: &str, frames: &[(u8, &[u8])]) -> Vec<u8> {
    let (server, upstream) = with_upstream(framing, &[]);
    let serving = upstream.serve(|mut stream| read_to_end(&mut stream));
    let mut client = RawWs::connect(&server, "/x");
    frames.iter().for_each(|(first, payload)| client.send_frame(*first, payload));
    client.send(&ws::close(1000, ""));
    serving.join().unwrap()
}

fn texts(texts: &[&str]) -> Vec<(u8, Vec<u8>)> {
    texts.iter().map(|text| (1, text.as_bytes().to_vec())).collect()
}

const ENDED: &str = "the upstream ended the stream";

#[test]
fn a_greeting_comes_first_and_the_end_of_the_stream_last() {
    let (messages, code, reason) = delivered("bytes", &[b"220 ready\r\n"]);
    assert_eq!(messages, [(2, b"220 ready\r\n".to_vec())]);
    assert_eq!((code, reason.as_str()), (Some(1000), ENDED));
}

#[test]
fn an_upstream_that_says_nothing_and_ends_is_a_clean_close() {
    for framing in ["bytes", "text", "line", "message"] {
        let (messages, code, reason) = delivered(framing, &[]);
        assert_eq!((messages, code, reason.as_str()), (vec![], Some(1000), ENDED), "{framing}");
    }
}

#[test]
fn bytes_arrive_all_in_binary_messages_of_at_most_64_kib() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let data = noise(3_000_000);
    let sent = data.clone();
    let serving = upstream.serve(move |mut stream| stream.write_all(&sent).unwrap());
    let mut client = RawWs::connect(&server, "/x");
    let (messages, code, _) = messages_to_close(&mut client);
    assert!(messages.iter().all(|(kind, payload)| *kind == 2 && payload.len() <= 65_536));
    assert!(messages.into_iter().flat_map(|(_, payload)| payload).eq(data));
    assert_eq!(code, Some(1000));
    serving.join().unwrap();
}

#[test]
fn bytes_take_the_payload_of_text_and_binary_messages_in_order() {
    let frames: &[(u8, &[u8])] = &[
        (first::TEXT, b"text,"),
        (first::BINARY, b"\x00\xff,"),
        (first::TEXT, b""),
        (first::BINARY_BEGINS, b"in "),
        (first::PING, b"not this"),
        (first::LAST, b"pieces"),
    ];
    assert_eq!(collected("bytes", frames), b"text,\x00\xff,in pieces");
}

#[test]
fn a_character_split_across_reads_arrives_whole_and_what_is_invalid_as_the_route_says() {
    const PIECES: &[&[u8]] = &[b"a\xe2", b"\x82", b"\xac\xf0\x9f", b"\x98\x80", b"z", b"\xe9 \xf0"];
    for (framing, pieces, invalid) in [
        ("text", &PIECES[..5], vec![]),
        ("text&invalid=replace", PIECES, texts(&["\u{fffd} ", "\u{fffd}"])),
        ("text&invalid=binary", PIECES, vec![(2, b"\xe9 ".into()), (2, b"\xf0".into())]),
    ] {
        let (messages, code, _) = delivered(framing, pieces);
        let expected = [texts(&["a", "€", "😀", "z"]), invalid].concat();
        assert_eq!((messages, code), (expected, Some(1000)), "{framing}");
    }
}

#[test]
fn text_that_is_not_utf8_closes_with_1007_and_is_never_replaced() {
    // The last piece ends within a character.
    const WRONG: [&[&[u8]]; 3] =
        [&[b"fine", b"\xff"], &[b"fine", b"\xe2", b"\x28"], &[b"fine", b"\xe2\x82"]];
    for pieces in WRONG {
        let (server, upstream) = with_upstream("text", &[]);
        let serving = upstream.serve(move |mut stream| {
            for piece in pieces {
                // The connection is closed after the invalid byte.
                if stream.write_all(piece).is_err() {
                    break;
                }
                wait_until_read(&stream);
            }
        });
        let mut client = RawWs::connect(&server, "/x");
        let (messages, code, reason) = messages_to_close(&mut client);
        assert_eq!(messages, texts(&["fine"]));
        assert_eq!(code, Some(1007));
        assert_eq!(reason, "the upstream sent text that is not valid UTF-8");
        serving.join().unwrap();
    }
}

#[test]
fn lines_come_without_their_ends_wherever_they_are_cut() {
    let (messages, code, _) =
        delivered("line", &[b"one\ntwo\r\n\nthr", b"ee\r", b"\nfour\r", b"4\n\xe2", b"\x82\xac"]);
    assert_eq!(messages, texts(&["one", "two", "", "three", "four\r4", "€"]));
    assert_eq!(code, Some(1000));
}

#[test]
fn records_with_a_length_are_messages_in_both_directions() {
    const PIECES: &[&[u8]] = &[b"\0\x03abc\0", b"\x00\0\x05de", b"fgh"];
    let (messages, code, _) = delivered("length&prefix=2", PIECES);
    let expected: [(u8, &[u8]); 3] = [(2, b"abc"), (2, b""), (2, b"defgh")];
    assert_eq!(messages, expected.map(|(opcode, payload)| (opcode, payload.to_vec())));
    assert_eq!(code, Some(1000));
    let (server, upstream) = with_upstream("length", &[]);
    let serving = upstream.serve(|mut stream| read_to_end(&mut stream));
    let mut client = RawWs::connect(&server, "/x");
    client.send_frame(first::TEXT, b"text");
    client.send_frame(first::BINARY, b"");
    client.send_frame(first::BINARY_BEGINS, b"in ");
    client.send_frame(first::PING, b"?");
    client.send_frame(first::LAST, b"pieces");
    let long = noise(300_000);
    client.send_frame(first::BINARY, &long);
    client.send(&ws::close(1000, ""));
    let length = 300_000_u32.to_be_bytes();
    let expected = [b"\0\0\0\x04text\0\0\0\0\0\0\0\x09in pieces", &length[..], &long].concat();
    assert!(serving.join().unwrap() == expected);
    assert_eq!(client.read().first, first::PONG);
    assert_eq!(client.read_close().0, Some(1000));
}

#[test]
fn a_record_that_breaks_off_or_does_not_fit_is_an_error() {
    let (messages, code, reason) = delivered("length", &[b"\0\0\0\x01a\0\0"]);
    assert_eq!(messages, [(2, b"a".to_vec())]);
    let expected = "the upstream ended within a record (framing=length)";
    assert_eq!((code, &*reason), (Some(1011), expected));
    let (mut client, _stream, _server) = connected("length&prefix=2", &[]);
    client.send_frame(first::BINARY, &noise(65_536));
    assert_eq!(
        client.read_close(),
        (Some(1009), "a message is larger than 65535 bytes".to_owned())
    );
}

#[test]
fn a_record_that_stalls_lets_control_frames_through() {
    let (mut client, mut stream, _server) = connected("length", &[]);
    stream.write_all(b"\0\0\0\x06abc").unwrap();
    let part = client.read();
    assert_eq!((part.first, &part.payload[..]), (first::BINARY_BEGINS, &b"abc"[..]));
    client.send_frame(first::PING, b"?");
    assert_eq!(client.read().first, first::PONG);
    stream.write_all(b"def\0\0\0\0").unwrap();
    let rest = client.read();
    assert_eq!((rest.first, &rest.payload[..]), (first::LAST, &b"def"[..]));
    assert_eq!(client.read(), Frame { first: first::BINARY, payload: Vec::new() });
}

#[test]
fn with_newline_crlf_each_line_of_a_message_ends_in_it() {
    let frames: &[(u8, &[u8])] = &[
        (first::TEXT, b"DATA"),
        (first::TEXT, b"Subject: x\n\nline\r\nlast"),
        (first::TEXT, b".\r\n"),
        (first::TEXT, b""),
        (first::TEXT_BEGINS, b"in "),
        (first::MORE, b"pieces\r"),
        (first::MORE, b"\nand "),
        (first::LAST, b"more\r"),
        (first::BINARY, &b"\n".repeat(5000)),
    ];
    let expected = [
        &b"DATA\r\nSubject: x\r\n\r\nline\r\nlast\r\n.\r\n\r\nin pieces\r\nand more\r\n"[..],
        &b"\r\n".repeat(5000),
    ];
    assert!(collected("line&newline=crlf", frames) == expected.concat());
}

#[test]
fn a_line_that_is_not_utf8_disturbs_no_other_where_it_may_come() {
    const PIECES: &[&[u8]] =
        &[b"one\ncaf\xe9\r\ntwo \xe2\x82", b"\xac\nthree \xf0\x9f", b"\n", b"last \xe2\x82"];
    let (messages, code, reason) = delivered("line&invalid=replace", PIECES);
    let expected = ["one", "caf\u{fffd}", "two \u{20ac}", "three \u{fffd}", "last \u{fffd}"];
    assert_eq!(messages, texts(&expected));
    assert_eq!((code, reason.as_str()), (Some(1000), ENDED));
    let (messages, code, reason) = delivered("line&invalid=binary", PIECES);
    let expected: [(u8, &[u8]); 5] = [
        (1, b"one"),
        (2, b"caf\xe9"),
        (1, "two \u{20ac}".as_bytes()),
        (2, b"three \xf0\x9f"),
        (2, b"last \xe2\x82"),
    ];
    assert_eq!(messages, expected.map(|(opcode, payload)| (opcode, payload.to_vec())));
    assert_eq!((code, reason.as_str()), (Some(1000), ENDED));
    // "close" is the default.
    let got = delivered_by("line", |mut stream| {
        stream.write_all(b"caf\xe9\nmore\n").unwrap();
        read_to_end(&mut stream);
    });
    assert_eq!((got.0, got.1), (vec![], Some(1007)));
}

#[test]
fn a_long_line_and_much_that_is_not_utf8_arrive_whole() {
    let long = "x".repeat(300_000);
    let garbage = vec![0xff; 200_000];
    for (invalid, expected) in [
        ("replace", vec![(1, long.clone()), (1, "\u{fffd}".repeat(garbage.len()))]),
        ("binary", vec![(2, long.clone())]),
    ] {
        let (server, upstream) = with_upstream(&format!("line&invalid={invalid}"), &[]);
        let (line, invalid_line) = (long.clone(), garbage.clone());
        let serving = upstream.serve(move |mut stream| {
            stream.write_all(&[line.as_bytes(), b"\r\n", &invalid_line, b"\n"].concat()).unwrap();
        });
        let mut client = RawWs::connect(&server, "/x");
        let (messages, code, _) = messages_to_close(&mut client);
        assert_eq!((messages.len(), code), (2, Some(1000)), "{invalid}");
        for (got, (opcode, payload)) in messages.iter().zip(&expected) {
            assert!(got.0 == *opcode && got.1 == payload.as_bytes(), "{invalid}");
        }
        if invalid == "binary" {
            assert!(messages[1] == (2, garbage.clone()));
        }
        serving.join().unwrap();
    }
}

#[test]
fn no_message_is_larger_than_the_chunk_that_the_route_names() {
    let text = "\u{20ac}uro \u{1f600} ".repeat(30_000);
    for (framing, kind, chunk) in [("bytes", 2, 32_768), ("text", 1, 32_768), ("text", 1, 125)] {
        let (server, upstream) = with_upstream(&format!("{framing}&chunk={chunk}"), &[]);
        let sent = text.clone();
        let serving = upstream.serve(move |mut stream| {
            stream.write_all(sent.as_bytes()).unwrap();
        });
        let mut client = RawWs::connect(&server, "/x");
        let (messages, code, _) = messages_to_close(&mut client);
        assert!(messages.iter().all(|(opcode, payload)| *opcode == kind && payload.len() <= chunk));
        assert!(messages.into_iter().flat_map(|(_, payload)| payload).eq(text.bytes()));
        assert_eq!(code, Some(1000), "{framing} {chunk}");
        serving.join().unwrap();
    }
}

#[test]
fn the_subprotocol_is_the_routes_own_or_the_first_that_fits_the_framing() {
    const IRC: &str = "binary.ircv3.net, text.ircv3.net";
    for (framing, offer, agreed) in [
        ("line", IRC, Some("text.ircv3.net")),
        ("bytes", IRC, Some("binary.ircv3.net")),
        ("line", "binary.ircv3.net", None),
        ("bytes&protocol=own", "mqtt, own", Some("own")),
        ("bytes&protocol=own", "own, binary", Some("binary")),
        ("bytes", "base64, mqtt", Some("mqtt")),
    ] {
        let (server, _upstream) = with_upstream(framing, &[]);
        let line = format!("Sec-WebSocket-Protocol: {offer}");
        let response = ws::handshake(&server, "/x", &[&line]);
        let got = (response.status, response.header("sec-websocket-protocol"));
        assert_eq!(got, (101, agreed), "{framing}: {offer}");
    }
}

#[test]
fn each_message_becomes_a_line() {
    let frames: &[(u8, &[u8])] = &[
        (first::TEXT, b"one"),
        (first::TEXT, b"two\n"),
        (first::TEXT, b""),
        (first::TEXT_BEGINS, b"th"),
        (first::LAST, b"ree"),
        (first::TEXT_BEGINS, b"four\n"),
        (first::LAST, b""),
        (first::BINARY, b"\xff"),
    ];
    assert_eq!(collected("line", frames), b"one\ntwo\n\nthree\nfour\n\xff\n");
}

#[test]
fn many_short_messages_in_one_read_become_as_many_lines() {
    let (server, upstream) = with_upstream("line", &[]);
    let serving = upstream.serve(|mut stream| read_to_end(&mut stream));
    let mut client = RawWs::connect(&server, "/x");
    let large = noise(300_000);
    let bytes = [
        ws::frame(first::TEXT, b"").repeat(5_000),
        ws::frame(first::BINARY, &large),
        ws::frame(first::TEXT, b"x").repeat(5_000),
        ws::close(1000, ""),
    ]
    .concat();
    client.send(&bytes);
    let got = serving.join().unwrap();
    assert!(got == [b"\n".repeat(5_000), large, b"\n".to_vec(), b"x\n".repeat(5_000)].concat());
}

#[test]
fn a_reply_to_no_message_is_an_error_of_the_upstream() {
    let (messages, code, reason) = delivered_by("message", |mut stream| {
        stream.write_all(b"greeting").unwrap();
        read_to_end(&mut stream);
    });
    assert_eq!(messages, []);
    assert_eq!(code, Some(1011));
    assert_eq!(reason, "the upstream sent bytes that no message asked for (framing=message)");
}

#[test]
fn an_upstream_that_ends_with_replies_missing_failed() {
    let (server, upstream) = with_upstream("message", &[]);
    let serving = upstream.serve(|mut stream| {
        assert_eq!(read_exactly(&mut stream, 6), b"onetwo");
        stream.write_all(b"ONE").unwrap();
    });
    let mut client = RawWs::connect(&server, "/x");
    client.send_frame(first::TEXT, b"one");
    client.send_frame(first::TEXT, b"two");
    assert_eq!(client.read().payload, b"ONE");
    let close = client.read();
    assert_eq!(
        close.close(),
        (Some(1011), "the upstream ended before every message had its reply")
    );
    serving.join().unwrap();
}

#[test]
fn an_upstream_that_resets_is_distinguished_from_one_that_ends() {
    for framing in ["bytes", "text", "line", "message"] {
        let (server, upstream) = with_upstream(framing, &[]);
        let (go, wait) = mpsc::channel();
        let serving = upstream.serve(move |mut stream| {
            if framing != "message" {
                stream.write_all(b"last words\n").unwrap();
                wait_until_read(&stream);
            }
            wait.recv().unwrap();
            reset(stream);
        });
        let mut client = RawWs::connect(&server, "/x");
        if framing != "message" {
            assert!(client.read().payload.starts_with(b"last words"));
        }
        go.send(()).unwrap();
        let close = client.read();
        assert_eq!(close.close(), (Some(1011), "the upstream reset the connection"), "{framing}");
        serving.join().unwrap();
        client.send(&ws::close(1011, ""));
        server.wait_for_log(&[
            "kind=websocket",
            "target=\"/x\"",
            "the upstream reset the connection (1011)",
        ]);
    }
}

#[test]
fn a_reset_of_an_upstream_during_a_write_is_reported_as_such() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let serving = upstream.serve(|mut stream| {
        read_exactly(&mut stream, 1000);
        reset(stream);
    });
    let mut client = RawWs::connect(&server, "/x");
    client.send_frame(first::BINARY, &noise(100_000));
    let close = client.read();
    assert_eq!(close.close(), (Some(1011), "the upstream reset the connection"));
    serving.join().unwrap();
}

#[test]
fn more_than_all_buffers_hold_goes_both_ways_at_once() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let data = noise(24 << 20);
    let serving = {
        let data = data.clone();
        upstream.serve(move |mut stream| {
            let mut writer = stream.try_clone().unwrap();
            let theirs = data.clone();
            let writing = thread::spawn(move || writer.write_all(&theirs).unwrap());
            let got = read_exactly(&mut stream, data.len());
            writing.join().unwrap();
            got == data
        })
    };
    let mut client = RawWs::connect(&server, "/x");
    let mut writer = client.stream.try_clone().unwrap();
    let sent = data.clone();
    let writing = thread::spawn(move || {
        for chunk in sent.chunks(100_000) {
            writer.write_all(&ws::frame(first::BINARY, chunk)).unwrap();
        }
    });
    // A reader of small pieces, slower than the rest.
    let mut got = Vec::new();
    while got.len() < data.len() {
        let frame = client.read();
        assert_eq!(frame.first, first::BINARY, "{frame:?}");
        got.extend(frame.payload);
    }
    assert!(got == data, "down");
    writing.join().unwrap();
    assert!(serving.join().unwrap(), "up");
    assert_eq!(client.read().close().0, Some(1000));
}

#[test]
fn an_upstream_that_ends_its_side_ends_the_connection_and_loses_nothing() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let serving = upstream.serve(|mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut stream)
    });
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(client.read(), Frame { first: first::BINARY, payload: b"bye".to_vec() });
    assert_eq!(client.read().close().0, Some(1000));
    // Data that the client sends before its Close is not lost; with the Close the connection ends.
    client.send_frame(first::BINARY, b"last");
    client.send(&ws::close(1000, ""));
    assert!(client.try_read().unwrap().is_none());
    assert_eq!(serving.join().unwrap(), b"last");
}

#[test]
fn a_socket_in_the_file_system_is_an_upstream_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let route = format!("/x=unix://{}?framing=bytes", path.display());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let mut client = RawWs::connect(&server, "/x");
    let payload = noise(300_000);
    client.send_frame(first::BINARY, &payload);
    client.send(&ws::close(1000, ""));
    let (messages, code, _) = messages_to_close(&mut client);
    assert_eq!(messages.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>(), payload);
    assert_eq!(code, Some(1000));
    serving.join().unwrap();
    // The upstream does not listen any more.
    let response = ws::handshake(&server, "/x", &[]);
    assert_eq!(
        (response.status, &*response.text()),
        (502, "the upstream refused the connection\n")
    );
}

#[test]
fn with_half_close_either_side_ends_first_and_the_other_goes_on() {
    const OFFER: &str = "Sec-WebSocket-Protocol: half-close";
    for client_first in [true, false] {
        let (server, upstream) = with_upstream("bytes", &[]);
        let serving = upstream.serve(move |mut stream| {
            if client_first {
                let all = read_to_end(&mut stream);
                stream.write_all(&all).unwrap();
                all
            } else {
                stream.write_all(b"the last word").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                read_to_end(&mut stream)
            }
        });
        let mut client = RawWs::connect_with(&server, "/x", &[OFFER]);
        let payload = noise(200_000);
        let mut expected = payload.clone();
        if !client_first {
            expected = b"the last word".to_vec();
            assert_eq!(client.read().payload, expected);
            assert_eq!(client.read(), Frame { first: first::BINARY, payload: vec![] });
        }
        client.send_frame(first::BINARY, &payload);
        client.send_frame(first::BINARY, b"");
        let (messages, code, reason) = messages_to_close(&mut client);
        if client_first {
            let (last, messages) = messages.split_last().unwrap();
            assert_eq!(*last, (first::BINARY & 0xf, vec![]));
            let back: Vec<u8> = messages.iter().flat_map(|(_, payload)| payload.clone()).collect();
            assert!(back == expected);
        } else {
            assert!(messages.is_empty());
        }
        assert_eq!((code, &*reason), (Some(1000), "both sides ended the stream"));
        assert!(serving.join().unwrap() == payload);
    }
}
