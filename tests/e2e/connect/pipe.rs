//! Pipe mode over byte streams: input, output, and endings.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use echogate_tests::{program::signal, tcp::noise};

use super::{INPUT_PAUSED, assert_fails, assert_prints, connect, finish, run, serve, upper};

#[test]
fn a_server_that_is_dribbled_to_and_dribbles_back_is_read_at_once() {
    let mut client = connect(&[&format!("tcp://{}", serve(upper))]);
    let mut input = client.stdin.take().unwrap();
    let mut output = client.stdout.take().unwrap();
    for byte in "no newline, and yet no waiting".bytes() {
        input.write_all(&[byte]).unwrap();
        let mut reply = [0];
        output.read_exact(&mut reply).unwrap();
        assert_eq!(reply[0], byte.to_ascii_uppercase());
    }
    drop(input);
    assert_prints(&finish(client), b"");
}

#[test]
fn the_end_of_the_input_half_closes_and_what_still_comes_is_printed() {
    let address = serve(|mut stream| {
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        write!(stream, "received {received:?} to the end").unwrap();
    });
    let output = run(&[&format!("tcp://{address}")], b"all of it");
    assert_prints(&output, b"received \"all of it\" to the end");
}

#[test]
fn an_input_without_a_byte_does_not_end_a_server_that_sends() {
    let (printed, is_printed) = mpsc::channel();
    let address = serve(move |mut stream| {
        stream.write_all(b"a").unwrap();
        is_printed.recv().unwrap();
        // A half-close would have arrived before the output was printed.
        stream.set_nonblocking(true).unwrap();
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::WouldBlock));
        stream.write_all(b" file").unwrap();
    });
    let mut client = connect(&[&format!("tcp://{address}")]);
    drop(client.stdin.take());
    let mut first = [0];
    client.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    printed.send(()).unwrap();
    assert_prints(&finish(client), b" file");
}

#[test]
fn a_server_that_closes_first_ends_it_while_the_input_is_open() {
    let address = serve(|mut stream| stream.write_all(b"bye").unwrap());
    let output = finish(connect(&[&format!("tcp://{address}")]));
    assert_prints(&output, b"bye");
}

#[test]
fn a_closed_standard_output_is_a_failure() {
    let address = serve(|mut stream| while stream.write_all(&[b'x'; 65536]).is_ok() {});
    let url = format!("tcp://{address}");
    let mut client = connect(&[&url]);
    let mut head = [0; 10];
    client.stdout.take().unwrap().read_exact(&mut head).unwrap();
    assert_fails(&finish(client), 1, &format!("{url}: standard output: broken pipe"));
}

#[test]
fn a_refused_connection_is_one_line_that_names_the_endpoint() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{free}");
    assert_fails(&run(&[&url], b""), 1, &format!("{url}: connection refused"));
}

#[test]
fn a_host_that_does_not_resolve_is_one_line_that_names_it() {
    let output = run(&["tcp://nowhere.invalid:7007"], b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let start =
        "echogate: tcp://nowhere.invalid:7007: cannot resolve the host name \"nowhere.invalid\": ";
    assert!(stderr.starts_with(start) && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn every_address_of_a_host_is_tried() {
    // `localhost` may resolve to ::1 first, where no server listens.
    let address = serve(upper);
    let port = address.rsplit(':').next().unwrap();
    assert_prints(&run(&[&format!("tcp://localhost:{port}")], b"hello"), b"HELLO");
}

#[test]
fn a_reset_is_a_failure_after_what_came_before_it() {
    // Closing a socket with unread data sends a reset.
    let address = serve(|mut stream| {
        stream.write_all(b"so far").unwrap();
        stream.peek(&mut [0]).unwrap();
    });
    let url = format!("tcp://{address}");
    let mut client = connect(&[&url]);
    let mut output = client.stdout.take().unwrap();
    let mut came = [0; 6];
    output.read_exact(&mut came).unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"never read").unwrap();
    assert_fails(&finish(client), 1, &format!("{url}: connection reset by peer"));
}

#[test]
fn a_reset_in_the_middle_of_a_flood_is_a_failure() {
    let address = serve(|stream| {
        stream.peek(&mut [0]).unwrap();
    });
    let url = format!("tcp://{address}");
    let output = run(&[&url], &vec![b'x'; 32 << 20]);
    assert_fails(&output, 1, &format!("{url}: connection reset by peer"));
}

/// Ends the server's side, and then reads everything that the client sends.
fn receive_only<S: Read>(mut stream: S, end: impl FnOnce(&S)) -> Vec<u8> {
    end(&stream);
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    received
}

#[test]
fn a_server_that_ends_its_side_first_gets_all_of_the_input() {
    let data = noise(3_000_000);
    let lines: String = (0..1000).map(|i| format!("line {i}\n")).collect();
    for (flags, input) in [(&[][..], &data[..]), (&["--count=1000"], lines.as_bytes())] {
        let (sender, received) = mpsc::channel();
        let address = serve(move |stream| {
            let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
            sender.send(receive_only(stream, end)).unwrap();
        });
        assert_prints(&run(&[&[&*format!("tcp://{address}")], flags].concat(), input), b"");
        assert!(received.recv().unwrap() == input, "{flags:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        receive_only(stream, |stream| stream.shutdown(Shutdown::Write).unwrap())
    });
    assert_prints(&run(&[&format!("unix://{}", path.display())], &data), b"");
    assert!(server.join().unwrap() == data);
}

#[test]
fn an_input_that_pauses_after_the_servers_end_is_waited_for_as_long_as_asked() {
    let (sender, received) = mpsc::channel();
    let address = serve(move |stream| {
        let end = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
        sender.send(receive_only(stream, end)).unwrap();
    });
    let mut client = connect(&[&format!("tcp://{address}"), "--wait=forever"]);
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"first, ").unwrap();
    thread::sleep(Duration::from_millis(1500));
    input.write_all(b"second").unwrap();
    drop(input);
    assert_prints(&finish(client), b"");
    assert_eq!(received.recv().unwrap(), b"first, second");
}

/// The URL of a server that does `first`, and then reads to the end: the bytes that it gets from a
/// client, and whether their end was a reset.
fn serve_to_the_end(
    first: impl FnOnce(&TcpStream) + Send + 'static,
) -> (String, mpsc::Receiver<(Vec<u8>, bool)>) {
    let (sender, received) = mpsc::channel();
    let address = serve(move |mut stream| {
        first(&stream);
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        let was_reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        sender.send((bytes, was_reset)).unwrap();
    });
    (format!("tcp://{address}"), received)
}

#[test]
fn an_input_that_pauses_after_the_servers_end_is_not_taken_for_all_of_it() {
    for (flags, input, sent, shown) in [
        (&[][..], &b"part"[..], &b"part"[..], INPUT_PAUSED),
        (&["--count=9"], b"one\n", b"one\n", INPUT_PAUSED),
        (&["--quiet"], b"part", b"part", ""),
        (&[], b"", b"", ""),
    ] {
        let (url, received) = serve_to_the_end(move |stream| {
            if !sent.is_empty() {
                // After the server's end the client waits for input for --wait at most.
                stream.peek(&mut [0]).unwrap();
            }
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut client = connect(&[&[&*url, "--wait=300ms"], flags].concat());
        client.stdin.as_mut().unwrap().write_all(input).unwrap();
        let output = finish(client);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), shown, "{flags:?}");
        assert_eq!(output.status.code(), Some(0), "{flags:?}");
        assert_eq!(received.recv().unwrap(), (sent.to_vec(), !sent.is_empty()), "{flags:?}");
    }
}

#[test]
fn what_is_in_flight_at_the_pause_is_delivered_before_the_reset() {
    let input = noise(1_300_000);
    for is_read in [true, false] {
        let (proceed, may_proceed) = mpsc::channel();
        let (sender, received) = mpsc::channel();
        let address = serve(move |mut stream| {
            may_proceed.recv().unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            may_proceed.recv().unwrap();
            let mut bytes = Vec::new();
            if is_read {
                stream.read_to_end(&mut bytes).unwrap_err();
            }
            sender.send(bytes).unwrap();
            // With unread bytes, the end of the stream is a reset.
        });
        let url = format!("tcp://{address}");
        let mut client = connect(&[&url, "--wait=300ms"]);
        client.stdin.as_mut().unwrap().write_all(&input).unwrap();
        // After the server's end the client waits for input for --wait at most.
        proceed.send(()).unwrap();
        let mut stderr = BufReader::new(client.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, INPUT_PAUSED);
        proceed.send(()).unwrap();
        assert!(received.recv().unwrap() == if is_read { &input[..] } else { b"" });
        assert_eq!(finish(client).status.code(), Some(i32::from(!is_read)));
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let error = format!("echogate: {url}: the server has not received all that was sent: ");
        assert!(if is_read { rest.is_empty() } else { rest.starts_with(&error) }, "{rest}");
    }
}

#[test]
fn an_input_without_a_byte_ends_a_server_that_greets_and_waits() {
    let address = serve(|mut stream| {
        stream.write_all(b"220 ready").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    assert_prints(&run(&[&format!("tcp://{address}")], b""), b"220 ready");
}

#[test]
fn messages_that_are_cut_reset_the_connection() {
    let (url, received) = serve_to_the_end(|_| {});
    let output = run(&[&url, "--hex", "--wait=0s"], b"61\nzz\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(received.recv().unwrap(), (b"a".to_vec(), true));
    for (flags, is_reset) in [
        (&["--timing"][..], true),
        (&["--message=x", "--every=1h", "--count=2"], true),
        (&["--message=x", "--every=1h"], false),
    ] {
        let (sender, received) = mpsc::channel();
        let (arrived, has_arrived) = mpsc::channel();
        let address = serve(move |mut stream| {
            let mut line = [0; 2];
            stream.read_exact(&mut line).unwrap();
            arrived.send(()).unwrap();
            sender.send(stream.read(&mut line).is_err()).unwrap();
        });
        let mut client = connect(&[&[&*format!("tcp://{address}")], flags].concat());
        client.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        has_arrived.recv().unwrap();
        signal(client.id(), "KILL");
        finish(client);
        assert_eq!(received.recv().unwrap(), is_reset, "{flags:?}");
    }
}

#[test]
fn an_input_that_cannot_be_sent_is_a_failure_that_says_how_much() {
    // The server has ended its side and does not read any more.
    let serve_enough = || {
        serve(|mut stream| {
            stream.write_all(b"enough").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_exact(&mut [0; 100_000]).unwrap();
        })
    };
    let url = format!("tcp://{}", serve_enough());
    let output = run(&[&url], &vec![b'x'; 32 << 20]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b"enough"[..]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let words = format!("echogate: {url}: closed by the server before all input was sent: ");
    let count =
        stderr.strip_prefix(&words).and_then(|rest| rest.strip_suffix(" bytes were not sent\n"));
    let count: u64 = count.unwrap_or_else(|| panic!("{stderr}")).parse().unwrap();
    assert!(count > 20 << 20, "{count}");
    // For an endless input the error says that more input is left.
    let url = format!("tcp://{}", serve_enough());
    let mut client = connect(&[&url]);
    let mut input = client.stdin.take().unwrap();
    thread::spawn(move || while input.write_all(&[b'x'; 65536]).is_ok() {});
    let output = finish(client);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("before all input was sent: at least "), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn messages_that_cannot_be_sent_are_a_failure() {
    let answer_two = || {
        serve(|mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for _ in 0..2 {
                reader.read_line(&mut String::new()).unwrap();
                stream.write_all(b"ok\n").unwrap();
            }
        })
    };
    let url = format!("tcp://{}", answer_two());
    let output = run(&[&url, "--message=x", "--every=100ms", "--count=9"], b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(" of 9 were sent") || stderr.contains("reset by peer"), "{stderr}");
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b"ok\nok\n"[..]));
}

#[test]
fn a_unix_socket_is_a_stream_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received.to_ascii_uppercase()).unwrap();
    });
    let url = format!("unix://{}", path.display());
    assert_prints(&run(&[&url], b"hello"), b"HELLO");
    let nowhere = format!("{url}-nowhere");
    let line = format!("{nowhere}: no such file or directory");
    assert_fails(&run(&[&nowhere], b""), 1, &line);
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    let url = format!("tcp://{}", serve(upper));
    let output = Command::new(crate::ECHOGATE)
        .args(["connect", &url])
        .stdin(Stdio::from(std::fs::File::open("/").unwrap()))
        .output()
        .unwrap();
    assert_fails(&output, 1, &format!("{url}: standard input: is a directory"));
}

#[test]
fn an_output_that_is_full_is_named() {
    let url = format!("tcp://{}", serve(|mut stream| stream.write_all(b"some").unwrap()));
    let output = Command::new(crate::ECHOGATE)
        .args(["connect", &url])
        .stdin(Stdio::null())
        .stdout(std::fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_fails(&output, 1, &format!("{url}: standard output: no space left on device"));
}

#[test]
fn an_interrupt_ends_it_at_once_in_the_middle_of_a_transfer() {
    use std::os::unix::process::ExitStatusExt;

    let address = serve(|mut stream| while stream.write_all(&[b'x'; 65536]).is_ok() {});
    let mut client = connect(&[&format!("tcp://{address}")]);
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 100_000]).unwrap();
    signal(client.id(), "INT");
    assert_eq!(finish(client).status.signal(), Some(2));
}

#[test]
fn a_target_may_be_a_host_and_a_port() {
    for form in ["tcp://127.0.0.1:PORT", "127.0.0.1:PORT", "127.0.0.1 PORT", ":PORT", "PORT"] {
        let address = serve(upper);
        let form = form.replace("PORT", address.rsplit(':').next().unwrap());
        let arguments: Vec<&str> = form.split(' ').collect();
        assert_prints(&run(&arguments, b"hello"), b"HELLO");
    }
}

#[test]
fn the_family_and_the_source_address_are_as_asked() {
    let address = serve(|mut stream| {
        let peer = stream.peer_addr().unwrap();
        write!(stream, "{}", peer.ip()).unwrap();
    });
    let port = address.rsplit(':').next().unwrap();
    let arguments = ["-4", "--source", "127.0.0.9", "localhost", port];
    assert_prints(&run(&arguments, b""), b"127.0.0.9");
    for (arguments, status, line) in [
        (&["-6", "127.0.0.1:1"][..], 1, "tcp://127.0.0.1:1: the host has no IPv6 address"),
        (&["-6", "udp://127.0.0.1:1"], 1, "udp://127.0.0.1:1: the host has no IPv6 address"),
        (
            &["--source", "::1", "127.0.0.1:1"],
            1,
            "tcp://127.0.0.1:1: the source address ::1 is of another family than the target, which \
             has no IPv6 address",
        ),
        (
            &["--source=192.0.2.7", "127.0.0.1:1"],
            1,
            "tcp://127.0.0.1:1: source address 192.0.2.7:0: cannot assign requested address",
        ),
        (
            &["-6", "--source=127.0.0.1", "127.0.0.1:1"],
            2,
            "tcp://127.0.0.1:1: --source is an IPv4 address, which --ipv6 excludes",
        ),
        (
            &["-4", "unix:///s"],
            2,
            "unix:///s: --ipv4 has no effect: a Unix socket has no IP address",
        ),
    ] {
        assert_fails(&run(arguments, b""), status, line);
    }
}

#[test]
fn with_crlf_lines_end_as_internet_protocols_want_it() {
    for (arguments, input, expected) in [
        (&[][..], &b"a\nb\r\n\xff"[..], &b"A\r\nB\r\n\xff"[..]),
        (&["--message=a"], b"", b"A\r\n"),
        (&["--count=2"], b"a\nb\n", b"A\r\nB\r\n"),
    ] {
        let address = serve(upper);
        assert_prints(&run(&[&[&*address, "--crlf"], arguments].concat(), input), expected);
    }
}

#[test]
fn invalid_arguments_are_a_usage_error() {
    for (arguments, complaint) in [
        (
            &["service:upper"][..],
            "service:upper: a service: URL is valid only as the upstream of a route or forward",
        ),
        (
            &["wss://h/?a=b", "--ca", "/nowhere/ca.pem"],
            "wss://h:443/?a=b: CA file /nowhere/ca.pem: no such",
        ),
        (&["tcp://127.0.0.1:1", "--origin", "x"], "--origin is valid with ws:// and wss:// only"),
        (&["127.0.0.1"], "127.0.0.1: no port: expected HOST PORT, HOST:PORT or a URL"),
        (&["127.0.0.1:1", "2"], "unexpected argument 2: tcp://127.0.0.1:1 has a port already"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = run(arguments, b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
