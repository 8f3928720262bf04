//! Observers of a connection in a registry: attachment, losses, ends.

use std::{io::IoSlice, sync::Arc};

use echogate_proto::{
    api::Kind,
    recording::{Data, Direction, Event, Opened, Side, TapPoint},
    ws::{
        Decoder, OpCode,
        frame::{control_frame, masked_frame},
    },
};
use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::{AttachError, Budget, Passed, Sides, Sink, output};
use crate::{
    connections::{
        registry::{Change, ConnectionInfo, Entry, Peer, Registry, RegistryGuard},
        target::ConnectionTarget,
    },
    recording::{decode::RecordDecoder, wire::WireEvent},
};

const TO_SERVER: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };

fn enter(registry: &Registry, kind: Kind) -> RegistryGuard {
    let target = Arc::new(ConnectionTarget::of_service("test", false));
    registry.enter(ConnectionInfo { kind, peer: Peer::Unknown, target, gateway: None }, None)
}

fn sink(bytes: usize) -> Sink {
    Sink::new(bytes, Arc::new(Budget::new(1 << 20)))
}

/// The events that wait in a queue, with their frames.
fn events(sink: &Sink) -> Vec<Event> {
    let (mut decoder, mut events) = (RecordDecoder::default(), Vec::new());
    while let Some(record) = sink.receive().now_or_never() {
        decoder.decode(record, |record| events.push(record.event));
    }
    events
}

fn pass(entry: &Entry, point: TapPoint, bytes: &[u8]) {
    let parts = &[IoSlice::new(bytes)];
    entry.passed(&Passed { point, parts, len: bytes.len(), is_datagram: false });
}

fn attach(entry: &Entry, sink: &Sink, sides: Sides) -> Result<(), AttachError> {
    entry.attach(sink, sides, |opened| opened)
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Data(data) => String::from_utf8_lossy(data.payload.as_bytes()).into_owned(),
        Event::Opened(opened) => format!("opened, {} before", opened.bytes_before),
        other => format!("{other:?}"),
    };
    events.iter().map(text).collect()
}

#[test]
fn an_observer_that_attaches_before_the_observation_begins_stays() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::Tcp);
    let early = sink(10_000);
    attach(&entry, &early, Sides::Both).unwrap();
    entry.observe(true, None, |opened| opened, |_| true);
    pass(&entry, TO_SERVER, b"first");
    assert_eq!(texts(&events(&early)), ["opened, 0 before", "first"]);
}

#[test]
fn an_observer_sees_the_history_and_then_what_passes_until_the_end() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::Tcp);
    entry.observe(true, None, |opened| opened, |_| true);
    pass(&entry, TO_SERVER, b"before");
    pass(&entry, output(Side::Upstream), b"upstream");
    let (client, both) = (sink(10_000), sink(10_000));
    attach(&entry, &client, Sides::Client).unwrap();
    attach(&entry, &both, Sides::Both).unwrap();
    pass(&entry, output(Side::Client), b"after");
    entry.direction_ended(TO_SERVER);
    entry.direction_ended(TO_SERVER);
    entry.side_failed(TO_SERVER);
    entry.ended(&"over");
    let client = texts(&events(&client));
    assert_eq!(client[..3], ["opened, 0 before", "before", "after"]);
    assert!(client[3].starts_with("EndOfInput(") && client[4].starts_with("Reset("), "{client:?}");
    assert_eq!(client[5..], [r#"Closed { reason: "over" }"#]);
    assert_eq!(texts(&events(&both))[..4], ["opened, 0 before", "before", "upstream", "after"]);
    assert!(!entry.is_tapped(Side::Client));
    assert_eq!(attach(&entry, &sink(1000), Sides::Both), Err(AttachError::Ended));
}

#[test]
fn a_connection_without_history_says_what_was_before_and_is_untapped_with_its_last_observer() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::Tcp);
    entry.observe(false, None, |_| panic!("not described"), |_| true);
    assert!(!entry.is_tapped(Side::Client));
    entry.received().add(1000, 0);
    let sinks: Vec<_> = (0..8).map(|_| sink(1000)).collect();
    sinks.iter().for_each(|sink| attach(&entry, sink, Sides::Both).unwrap());
    assert_eq!(attach(&entry, &sink(1000), Sides::Both), Err(AttachError::TooMany));
    assert_eq!(texts(&events(&sinks[0])), ["opened, 1000 before"]);
    sinks[1..].iter().for_each(|sink| entry.detach(sink));
    assert!(entry.is_tapped(Side::Client));
    sinks[0].close();
    pass(&entry, TO_SERVER, b"x");
    assert!(!entry.is_tapped(Side::Client), "a closed queue is removed by the next event");
}

#[test]
fn frames_behind_lost_bytes_are_seen_again_once_their_position_is_known() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::WebSocket);
    let sink = sink(1000);
    entry.observe(false, Some((&sink, Sides::Client)), |opened| opened, |_| true);
    let [long, short] =
        [&[b'x'; 2000][..], b"seen"].map(|it| masked_frame(OpCode::Text, it, [1, 2, 3, 4]));
    pass(&entry, TO_SERVER, &short);
    pass(&entry, TO_SERVER, &long);
    pass(&entry, TO_SERVER, &short);
    pass(&entry, output(Side::Client), &control_frame(OpCode::Ping, b"ping"));
    let seen = texts(&events(&sink));
    assert_eq!(seen[..2], ["opened, 0 before", "seen"]);
    let bytes = long.len() + short.len();
    assert_eq!(seen[2], format!("Lost(Lost {{ events: 2, bytes: {bytes} }})"));
    assert!(seen[3].starts_with("Ping("), "the other direction is not affected: {seen:?}");
    entry.is_at(TO_SERVER, Default::default);
    pass(&entry, TO_SERVER, &short);
    assert_eq!(texts(&events(&sink)), ["seen"]);
}

#[test]
fn the_registry_drops_the_history_of_a_connection_that_carries_much() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::Tcp);
    entry.observe(
        true,
        None,
        |opened| Opened { protocol: Some("p".to_owned()), ..opened },
        |_| true,
    );
    while entry.is_tapped(Side::Client) {
        entry.received().add(2000, 0);
        pass(&entry, TO_SERVER, &[0; 2000]);
    }
    assert_eq!(entry.carried_bytes(), 264_000);
}

#[test]
fn a_side_that_nobody_observes_costs_nothing() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::WebSocket);
    let (client, upstream) = (sink(1000), sink(1000));
    entry.observe(false, Some((&client, Sides::Client)), |opened| opened, |_| true);
    assert!(entry.is_tapped(Side::Client) && !entry.is_tapped(Side::Upstream));
    attach(&entry, &upstream, Sides::Upstream).unwrap();
    entry.detach(&client);
    assert!(entry.is_tapped(Side::Upstream) && !entry.is_tapped(Side::Client));
}

#[test]
fn connections_that_are_silent_give_up_their_histories_for_those_that_speak() {
    let registry = Registry::default();
    let slow = |_| {
        let entry = enter(&registry, Kind::Tcp);
        entry.observe(true, None, |opened| opened, |_| true);
        pass(&entry, TO_SERVER, &[b'x'; 8 * 1024]);
        entry
    };
    let has_history = |entry: &RegistryGuard| entry.is_tapped(Side::Client);
    let first: Vec<_> = (0..25).map(slow).collect();
    assert!(first.iter().all(has_history));
    // The first of them goes on.
    let others: Vec<_> = (0..30)
        .map(|number| {
            pass(&first[0], TO_SERVER, b"y");
            slow(number)
        })
        .collect();
    assert!(has_history(&first[0]) && !first[1..].iter().any(has_history));
    let count = others.iter().filter(|entry| has_history(entry)).count();
    assert!((25..30).contains(&count), "{count} connections have a history");
    assert!(has_history(others.last().unwrap()));
    drop((first, others));
    let newcomer = slow(0);
    let observer = sink(20_000);
    attach(&newcomer, &observer, Sides::Client).unwrap();
    assert_eq!(texts(&events(&observer)).len(), 2);
}

#[test]
fn observers_and_the_history_share_one_copy_of_the_payload() {
    let registry = Registry::default();
    let entry = enter(&registry, Kind::Tcp);
    entry.observe(true, None, |opened| opened, |_| true);
    let payload = |sink: &Sink| {
        let records = std::iter::from_fn(|| sink.receive().now_or_never());
        let bytes = records.filter_map(|record| match record.event {
            WireEvent::Bytes(_, bytes) => Some(bytes),
            _ => None,
        });
        bytes.last().unwrap()
    };
    let sinks = [(); 2].map(|()| sink(10_000));
    sinks.iter().for_each(|sink| attach(&entry, sink, Sides::Client).unwrap());
    pass(&entry, TO_SERVER, b"once");
    let late = sink(10_000);
    attach(&entry, &late, Sides::Client).unwrap();
    let [first, others @ ..] = [&sinks[0], &sinks[1], &late].map(payload);
    assert_eq!(&first[..], b"once");
    assert!(others.iter().all(|other| other.as_ptr() == first.as_ptr()));
}

proptest! {
    /// A relay reports the position of its decoder before each read. However the bytes of frames are
    /// read, an observer that comes at any time sees the payload of all bytes after it.
    #[test]
    fn an_observer_that_comes_within_a_frame_sees_what_follows(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
        key: [u8; 4],
        reads in proptest::collection::vec(1_usize..50, 1..100),
        comes_at in 0_usize..50,
    ) {
        let registry = Registry::default();
        let (entry, sink) = (enter(&registry, Kind::WebSocket), sink(1 << 20));
        entry.received().add(1, 0);
        let frames = payloads.iter().map(|payload| masked_frame(OpCode::Binary, payload, key));
        let bytes: Vec<u8> = frames.flatten().collect();
        let mut decoder = Decoder::new(u64::MAX);
        let (mut rest, mut reads) = (&bytes[..], reads.iter().cycle().enumerate());
        let mut expected = Vec::new();
        let mut is_attached = false;
        while let Some((number, len)) = reads.next().filter(|_| !rest.is_empty()) {
            if number == comes_at {
                attach(&entry, &sink, Sides::Client).unwrap();
                is_attached = true;
            }
            entry.is_at(TO_SERVER, || decoder.scanner());
            let (read, behind) = rest.split_at((*len).min(rest.len()));
            rest = behind;
            pass(&entry, TO_SERVER, read);
            let (mut read, mut at) = (read.to_vec(), 0);
            while let Some(event) = decoder.next(&mut read, &mut at).unwrap() {
                use echogate_proto::ws::Event as Decoded;
                if let Decoded::Message { range, .. } | Decoded::Payload { range, .. } = event
                    && is_attached
                {
                    expected.extend_from_slice(&read[range]);
                }
            }
        }
        let seen = events(&sink);
        let payload = |event: &Event| match event {
            Event::Data(Data { payload, .. }) => payload.as_bytes().to_vec(),
            Event::Opened(_) => Vec::new(),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(seen.iter().flat_map(payload).collect::<Vec<_>>(), expected);
        prop_assert_eq!(seen.is_empty(), !is_attached);
    }
}

#[test]
fn a_connection_whose_task_is_gone_ends_for_its_observers_and_subscribers() {
    let registry = Registry::default();
    let mut changes = registry.subscribe();
    let entry = enter(&registry, Kind::Tcp);
    let observer = sink(10_000);
    attach(&entry, &observer, Sides::Both).unwrap();
    drop(entry);
    let expected = r#"Closed { reason: "cut off" }"#;
    assert_eq!(texts(&events(&observer)).last().unwrap(), expected);
    assert!(matches!(changes.changes.try_recv(), Ok(Change::Opened(_))));
    assert!(matches!(changes.changes.try_recv(), Ok(Change::Closed(..))));
}
