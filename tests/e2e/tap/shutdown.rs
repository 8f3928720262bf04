//! Taps that are open at SIGTERM.

use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{connect_with_small_buffer, noise, round_trip, write_until_blocked},
    ws::{self, RawWs},
};

use super::Observer;
use crate::{ECHOGATE, server};

#[test]
fn taps_last_until_their_connections_end_at_the_shutdown() {
    let mut server = server();
    let mut tcp = connect(server.address("upper"));
    assert_eq!(round_trip(&mut tcp, b"a"), b"A");
    let mut ws = RawWs::connect(&server, "/ws/echo");
    let [mut of_tcp, mut of_ws] = ["upper", "/ws/echo"].map(|it| Observer::of(&server, it));
    server.signal("TERM");
    assert_eq!(ws.read().close().0, Some(1001));
    ws.send(&ws::close(1001, ""));
    let (of_tcp, of_ws) = (of_tcp.rest(), of_ws.rest());
    assert_eq!(of_tcp.last().unwrap(), "closed: the server shut down", "{of_tcp:?}");
    let close = "client < Close 1001 the server is shutting down";
    assert!(of_ws.iter().any(|line| line == close), "{of_ws:?}");
    assert_eq!(of_ws.last().unwrap(), "closed: the server is shutting down (1001)", "{of_ws:?}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_tap_that_waits_for_the_next_connection_ends_at_the_shutdown() {
    let mut server = server();
    let mut observer = Observer::over(connect(server.address("http")), "next", "both", &[]);
    server.signal("TERM");
    assert!(observer.rest().is_empty());
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_tap_of_a_connection_that_is_cut_off_ends_with_its_end() {
    let mut server = Server::start(ECHOGATE, &["--drain", "500ms"]);
    let mut silent = connect_with_small_buffer(server.address("upper"));
    write_until_blocked(&mut silent, &noise(64 << 20));
    let mut observer = Observer::of(&server, "upper");
    server.signal("TERM");
    let rest = observer.rest();
    assert_eq!(rest[..2], ["opened", "client < reset"]);
    let end = "closed: cut off at the end of the shutdown (--drain); ";
    assert!(rest.len() == 3 && rest[2].starts_with(end), "{rest:?}");
    assert_eq!(server.wait().code(), Some(0));
}
