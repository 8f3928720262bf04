//! `echogate bench` over datagrams: replies that are lost, late, duplicated or reordered on purpose
//! by the servers of the tests.

use std::{
    net::UdpSocket,
    sync::mpsc::{self, Receiver},
    thread,
};

use echogate_tests::server::{Server, WAIT_TIMEOUT};
use serde_json::Value;

use super::{SHORT, assert_fails, results, run, run_short};
use crate::ECHOGATE;

/// A function from a datagram's number, the first being 1, and its reply to the datagrams to send.
type Answer = fn(u64, Vec<u8>) -> Vec<Vec<u8>>;

/// Starts a UDP server that sends the result of `answer` for each message in upper case. Returns its
/// URL, and a channel with each message.
fn serve(
    mut answer: impl FnMut(u64, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
) -> (String, Receiver<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        for number in 1.. {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { return };
            sender.send(()).ok();
            for reply in answer(number, buffer[..n].to_ascii_uppercase()) {
                socket.send_to(&reply, from).unwrap();
            }
        }
    });
    (url, received)
}

/// The results of a run with one message in flight that is long enough for a message to count as
/// lost.
#[track_caller]
fn results_past_a_loss(url: &str) -> Value {
    let output = run(&[url, "--connections=1", "--warm-up=0s", "--duration=1500ms", "--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_datagram_is_answered_by_the_services() {
    let folder = tempfile::tempdir().unwrap();
    let unixgram = format!("upper=unixgram://{}", folder.path().join("s").display());
    let server =
        Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0", "--listen", &unixgram]);
    for url in server.urls("upper").filter(|url| !url.starts_with("tcp:")) {
        for load in [
            &["--connections=7", "--size=1"][..],
            &["--connections=1", "--size=65507"],
            &["--connections=2", "--size=100", "--in-flight=4"],
            &["--connections=5", "--size=10", "--rate=1000"],
        ] {
            let results = results(&[&[&*url], load].concat());
            assert_eq!((&results["lost"], &results["stray"]), (&0.into(), &0.into()), "{results}");
        }
    }
}

#[test]
fn a_lost_datagram_is_counted_and_holds_up_nothing_but_its_own_slot() {
    let (url, received) = serve(|number, reply| if number == 5 { Vec::new() } else { vec![reply] });
    let results = results(&[&url, "--connections=1", "--in-flight=4"]);
    assert_eq!((&results["lost"], &results["stray"]), (&1.into(), &0.into()), "{results}");
    let messages = results["messages"].as_u64().unwrap();
    assert!(messages > 50, "the others go on: {results}");
    assert_eq!(received.try_iter().count() as u64, messages + 1);
}

#[test]
fn at_a_rate_messages_are_lost_and_found_too() {
    let (url, _heard) =
        serve(|number, reply| if number % 10 == 0 { Vec::new() } else { vec![reply] });
    let results = results(&[&url, "--connections=2", "--in-flight=100", "--rate=500"]);
    let count = |field: &str| results[field].as_u64().unwrap();
    let all = count("lost") + count("messages");
    assert!(all > 50 && count("lost") == all / 10, "{results}");
}

#[test]
fn a_slot_that_a_lost_datagram_had_is_used_again_and_its_late_reply_is_no_error() {
    let mut held = None;
    let (url, _heard) = serve(move |number, reply| {
        if number == 1 {
            held = Some(reply);
            return Vec::new();
        }
        held.take().into_iter().chain([reply]).collect()
    });
    let results = results_past_a_loss(&url);
    assert_eq!((&results["lost"], &results["stray"]), (&1.into(), &1.into()), "{results}");
    assert_eq!(results["errors"], 0, "{results}");
    assert!(results["messages"].as_u64().unwrap() > 0, "{results}");
}

#[test]
fn replies_that_come_twice_or_overtake_others_are_no_errors() {
    let (url, _heard) = serve(|_, reply| vec![reply.clone(), reply]);
    let twice = results(&[&url, "--connections=1"]);
    assert!(twice["stray"].as_u64().unwrap() > 0, "{twice}");
    assert_eq!(twice["lost"], 0, "{twice}");

    let mut held = None;
    let (url, _heard) = serve(move |_, reply| match held.take() {
        None => {
            held = Some(reply);
            Vec::new()
        }
        Some(other) => vec![reply, other],
    });
    let swapped = results(&[&url, "--connections=1", "--in-flight=2", "--size=9"]);
    assert_eq!(swapped["stray"], 0, "{swapped}");
}

#[test]
fn a_wrong_byte_or_length_is_an_error() {
    let (number, body): (Answer, Answer) = (
        |number, mut reply| {
            reply[2] = if number == 3 { b'\n' } else { reply[2] };
            vec![reply]
        },
        |number, mut reply| {
            reply[20] = if number == 3 { b'\n' } else { reply[20] };
            vec![reply]
        },
    );
    let shorter: Answer = |_, reply| vec![reply[1..].to_vec()];
    let longer: Answer = |_, reply| vec![[&reply[..], &reply[..]].concat()];
    for (answer, words) in [
        (number, "byte 3 of reply 3 is '\\n', expected '"),
        (body, "byte 21 of reply 3 is '\\n', expected '"),
        (shorter, "a reply is shorter than its message"),
        (longer, "a reply is longer than its message"),
    ] {
        let output = run_short(&[&serve(answer).0, "--connections=1"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!(": connection 1: {words}")), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_server_that_never_answers_is_a_failure_and_not_waited_for() {
    let (url, received) = serve(|_, _| Vec::new());
    let output = run_short(&[&url, "--connections=2", "--in-flight=3"]);
    assert_fails(&output, 1, &format!("{url}: no message was answered"));
    assert_eq!(received.try_iter().count(), 6);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\nlost      6; late or duplicate replies: 0\nerrors    1"), "{text}");
}

#[test]
fn a_port_without_a_socket_is_a_failure_that_says_so() {
    let url = format!("udp://{}", UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let output = run_short(&[&url, "--connections=1"]);
    assert_fails(&output, 1, "connection 1: port unreachable: no process listens on it");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unixgram://{}", folder.path().join("s").display());
    assert_fails(&run_short(&[&url]), 1, "connection 1: no such file or directory");
}

#[test]
fn localhost_is_127_0_0_1_first() {
    // The resolver may give ::1 first, where no process listens.
    let (url, received) = serve(|_, reply| vec![reply]);
    let url = url.replace("127.0.0.1", "localhost");
    assert_eq!(results(&[&url, "--connections=3"])["lost"], 0);
    received.recv_timeout(WAIT_TIMEOUT).unwrap();
}

#[test]
fn what_is_larger_than_a_datagram_is_a_usage_error() {
    let output = run(&[&["udp://127.0.0.1:7007", "--size=65508"], &SHORT[..]].concat());
    assert_fails(&output, 2, "--size exceeds the largest UDP datagram: 65507 bytes");
}
