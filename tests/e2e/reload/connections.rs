//! Open connections, and those made during a reload or a drain.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use echogate_tests::{
    http::{self, connect},
    tcp::{read_exactly, read_to_end, round_trip, wait_until_refused},
    ws::{self, RawWs, first, handshake},
};

use super::{Reloaded, http_and, listener, replies_in_upper_case, route};

#[test]
fn connections_of_all_kinds_outlive_the_listeners_and_routes_they_came_by() {
    let chat = "operator-token-file = \"TOKEN\"\n";
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "correct-horse-battery-staple\n").unwrap();
    let head = http_and(&chat.replace("TOKEN", token.to_str().unwrap()));
    let socket = dir.path().join("upper.sock");
    let before = [
        head,
        listener("upper", "tcp://127.0.0.1:0"),
        listener("chat", "tcp://127.0.0.1:0"),
        listener("upper", &format!("unix://{}", socket.display())),
        route("/upper", "service:upper"),
        route("/operator", "service:operator"),
    ];
    let mut reloaded = Reloaded::new(&before.concat());
    let server = &reloaded.server;
    let mut tcp = connect(server.address("upper"));
    let mut unix = UnixStream::connect(&socket).unwrap();
    let mut bridged = RawWs::connect(server, "/upper");
    let mut client = connect(server.address("chat"));
    let mut operator = RawWs::connect(server, "/operator");
    operator.send_frame(first::TEXT, br#"{"type":"token","token":"correct-horse-battery-staple"}"#);
    let welcome = String::from_utf8(operator.read().payload).unwrap();
    assert!(welcome.contains("welcome"), "{welcome}");
    client.write_all(b"is anybody there?\n").unwrap();
    let mut events = connect(server.address("http"));
    let host = format!("Host: {}", server.address("http"));
    http::exchange(&mut events, &["GET /healthz HTTP/1.1", &host]);
    while !String::from_utf8(operator.read().payload).unwrap().contains("is anybody there?") {}
    assert_eq!(round_trip(&mut tcp, b"before"), b"BEFORE");
    assert_eq!(round_trip(&mut unix, b"before"), b"BEFORE");

    // The token file is refused without a chat service.
    reloaded.accept(&[http_and(""), route("/other", "service:echo")].concat());
    let server = &reloaded.server;
    for gone in ["upper", "chat"] {
        wait_until_refused(server.address(gone));
    }
    assert_eq!(handshake(server, "/upper", &[]).status, 404);
    assert!(!socket.exists(), "its file is removed");
    assert_eq!(round_trip(&mut tcp, b"after"), b"AFTER");
    assert_eq!(round_trip(&mut unix, b"after"), b"AFTER");
    assert!(replies_in_upper_case(&mut bridged));
    // Both sides of the conversation are still connected.
    operator.send_frame(first::TEXT, br#"{"type":"say","conversation":1,"text":"we are"}"#);
    assert_eq!(read_exactly(&mut client, 7), b"we are\n");
    assert_eq!(http::exchange(&mut events, &["GET /healthz HTTP/1.1", &host]).status, 200);
    let live = server.connections();
    let mut targets: Vec<_> = live.iter().map(|one| one["target"].as_str().unwrap()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["/operator", "/upper", "chat", "upper", "upper"]);

    // They are drained like all others.
    reloaded.server.signal("TERM");
    assert_eq!(bridged.read().close().0, Some(1001));
    bridged.send(&ws::close(1001, ""));
    while operator.read().first != first::CLOSE {}
    operator.send(&ws::close(1001, ""));
    assert!(read_to_end(&mut tcp).is_empty());
    assert!(read_to_end(&mut unix).is_empty());
    drop((tcp, unix, client));
    assert_eq!(reloaded.server.wait().code(), Some(0));
    let log = reloaded.server.log();
    assert!(!log.iter().any(|line| line.contains("did not end within")), "{log:#?}");
}

#[test]
fn repeated_reloads_and_reloads_during_the_drain_do_no_harm() {
    let settings = http_and(&listener("upper", "tcp://127.0.0.1:0"));
    let mut reloaded = Reloaded::new(&(settings.clone() + &route("/ws", "service:upper")));
    let mut client = connect(reloaded.server.address("upper"));
    let mut ws = RawWs::connect(&reloaded.server, "/ws");
    for round in 0..30 {
        let path = if round % 2 == 0 { "/even" } else { "/odd" };
        reloaded.write(&(settings.clone() + &route(path, "service:upper")));
        reloaded.server.signal("HUP");
        if round % 10 == 0 {
            assert_eq!(round_trip(&mut client, b"still here"), b"STILL HERE");
        }
    }
    reloaded.sighup();
    // Earlier reloads may still have been in progress.
    reloaded.sighup();
    assert_eq!(handshake(&reloaded.server, "/odd", &[]).status, 101);
    assert_eq!(handshake(&reloaded.server, "/even", &[]).status, 404);
    assert_eq!(round_trip(&mut client, b"still here"), b"STILL HERE");
    assert!(replies_in_upper_case(&mut ws));

    reloaded.server.signal("TERM");
    reloaded.server.wait_for_log(&["shutting down"]);
    reloaded.server.signal("HUP");
    assert_eq!(ws.read().close().0, Some(1001));
    reloaded.server.signal("HUP");
    ws.send(&ws::close(1001, ""));
    assert!(read_to_end(&mut client).is_empty());
    drop(client);
    assert_eq!(reloaded.server.wait().code(), Some(0));
}

#[test]
fn clients_that_connect_during_a_reload_are_served() {
    let fixed = http_and(&format!(
        "{}{}",
        listener("upper", "tcp://127.0.0.1:0"),
        listener("upper", "udp://127.0.0.1:0")
    ));
    let settings = [
        fixed.clone() + &route("/ws", "service:upper"),
        [
            "max-connections = 1000\nmax-message = 1000\n",
            &fixed,
            &listener("echo", "tcp://127.0.0.1:0"),
            &route("/ws", "service:upper?max=500"),
            &route("/other", "service:echo"),
        ]
        .concat(),
    ];
    let reloaded = Reloaded::new(&settings[0]);
    let server = &reloaded.server;
    let over = AtomicBool::new(false);
    let until_over = |visit: &dyn Fn()| {
        while !over.load(Ordering::Relaxed) {
            visit();
        }
    };
    thread::scope(|scope| {
        let visitors = [
            scope.spawn(|| {
                until_over(&|| {
                    let mut client = connect(server.address("upper"));
                    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
                });
            }),
            scope.spawn(|| {
                until_over(&|| assert!(replies_in_upper_case(&mut RawWs::connect(server, "/ws"))));
            }),
            scope.spawn(|| {
                until_over(&|| {
                    assert_eq!(http::get(server.address("http"), "/api/endpoints").status, 200);
                });
            }),
        ];
        for round in 1..=40 {
            reloaded.accept(&settings[round % 2]);
        }
        over.store(true, Ordering::Relaxed);
        for visitor in visitors {
            visitor.join().expect("each was served");
        }
    });
}
