//! Routes that are added, removed and changed.

use echogate_tests::{
    upstream::Upstream,
    ws::{Frame, RawWs, first, handshake},
};

use super::{Reloaded, http_and, replies_in_upper_case, route};

#[test]
fn routes_can_be_added_and_removed() {
    let reloaded = Reloaded::new(&http_and(&route("/old", "service:upper")));
    let server = &reloaded.server;
    let mut before = RawWs::connect(server, "/old");
    assert_eq!(handshake(server, "/new", &[]).status, 404);
    reloaded.accept(&http_and(&(route("/new", "service:upper") + &route("/", "service:upper"))));
    assert_eq!(handshake(server, "/old", &[]).status, 404);
    assert!(replies_in_upper_case(&mut RawWs::connect(server, "/new")));
    assert!(replies_in_upper_case(&mut RawWs::connect(server, "/")), "where the page is, too");
    assert!(replies_in_upper_case(&mut before));
    let endpoints = reloaded.endpoints();
    assert_eq!(endpoints["routes"][0]["path"], "/new", "{endpoints}");
    assert_eq!(endpoints["routes"].as_array().unwrap().len(), 2, "{endpoints}");
    let page = echogate_tests::http::get(server.address("http"), "/");
    assert_eq!(page.status, 200, "a request for the page is one still");
}

#[test]
fn a_changed_route_applies_to_clients_that_connect_afterwards() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let to = |upstream: &Upstream, options: &str| {
        http_and(&route("/x", &format!("tcp://{}?{options}", upstream.address())))
    };
    let reloaded = Reloaded::new(&to(&one, "framing=bytes"));
    let mut before = RawWs::connect(&reloaded.server, "/x");
    let mut first_stream = one.accept();
    reloaded.accept(&to(&two, "framing=line&protocol=mqtt"));
    let offer = ["Sec-WebSocket-Protocol: other, mqtt"];
    let answer = handshake(&reloaded.server, "/x", &offer);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("mqtt"));
    drop(two.accept());
    let mut after = RawWs::connect(&reloaded.server, "/x");
    let mut second_stream = two.accept();
    for stream in [&mut first_stream, &mut second_stream] {
        std::io::Write::write_all(stream, b"a line\n").unwrap();
    }
    assert_eq!(before.read(), Frame { first: first::BINARY, payload: b"a line\n".to_vec() });
    assert_eq!(after.read(), Frame { first: first::TEXT, payload: b"a line".to_vec() });
}
