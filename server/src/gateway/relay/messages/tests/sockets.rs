//! Real sockets on an event loop.

use tokio::{
    io::{join, sink, split},
    net::TcpStream,
};

use super::*;
use crate::{
    connections::registry::Entry,
    gateway::test_rig::{OnEventLoop, has_received, in_time, reset, tcp},
};

/// A relay on an event loop, with the far ends of its two connections.
struct SocketRig {
    client: FarEnd<TcpStream>,
    upstream: FarEnd<TcpStream>,
    entry: Arc<Entry>,
    relay: OnEventLoop<End>,
}

async fn socket_rig() -> SocketRig {
    let ((client, near_client), (upstream, near_upstream)) = (tcp().await, tcp().await);
    let far_end = |stream, role| FarEnd { stream, state: Arc::default(), role };
    let guard = enter();
    let entry = guard.clone();
    let relay = run(
        near_client,
        near_upstream,
        ReadAhead::default(),
        config().into(),
        guard,
        &Drain::new(),
    );
    SocketRig {
        client: far_end(client, Role::Client),
        upstream: far_end(upstream, Role::Server),
        entry,
        relay: OnEventLoop::spawn(relay),
    }
}

/// Reads frames until the connection is reset; returns the number of payload bytes.
async fn read_until_reset(end: &mut FarEnd<TcpStream>) -> usize {
    let (mut decoder, mut got) = (Decoder::new(u64::MAX), 0);
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = match in_time(end.stream.read(&mut buf)).await {
            Ok(0) => panic!("an end in order, after {got} bytes"),
            Ok(n) => n,
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
                return got;
            }
        };
        let mut at = 0;
        while let Some(event) = decoder.next(&mut buf[..n], &mut at).unwrap() {
            match event {
                Event::Payload { range, .. } | Event::Message { range, .. } => got += range.len(),
                Event::Frame { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn messages_and_both_closes_pass_and_both_connections_end_in_order() {
    let mut rig = socket_rig().await;
    rig.client.send(TEXT, b"request").await;
    assert_eq!(rig.upstream.frame_in().await, (TEXT, b"request".to_vec()));
    rig.upstream.send(BINARY, b"reply").await;
    assert_eq!(rig.client.frame_in().await, (BINARY, b"reply".to_vec()));
    rig.client.send_close(4001, "done").await;
    rig.upstream.gets_close(4001, "done").await;
    rig.upstream.send_close(4002, "too").await;
    rig.client.is_closed_by(4002, "too").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.upstream.next().await, None, "a FIN, no reset");
    assert_eq!(rig.relay.end().await.to_string(), "the client closed: done (4001)");
}

#[tokio::test]
async fn all_that_a_client_sent_arrives_before_its_end_resets_the_upstream() {
    for resets in [false, true] {
        let mut rig = socket_rig().await;
        let len = 3 << 20;
        let frames = rig.client.frame(BINARY, &[7; 1 << 19]).repeat(6);
        let mut client = rig.client;
        let sending = tokio::spawn(async move {
            client.write(&frames).await;
            client
        });
        has_received(&rig.entry, 1).await;
        let reading = tokio::spawn(async move { read_until_reset(&mut rig.upstream).await });
        let client = sending.await.unwrap();
        has_received(&rig.entry, len).await;
        if resets {
            reset(client.stream);
        } else {
            drop(client);
        }
        assert_eq!(reading.await.unwrap(), len);
        assert!(rig.relay.end().await.to_string().starts_with("the client "));
    }
}

#[tokio::test]
async fn an_upstream_that_resets_its_connection_has_the_client_get_1011() {
    let mut rig = socket_rig().await;
    rig.upstream.send(TEXT, b"last").await;
    assert_eq!(rig.client.frame_in().await, (TEXT, b"last".to_vec()));
    reset(rig.upstream.stream);
    rig.client.gets_close(1011, "the upstream reset the connection").await;
    rig.client.send_close(1011, "").await;
    assert_eq!(rig.client.next().await, None);
    assert_eq!(rig.relay.end().await.to_string(), "the upstream reset the connection (1011)");
}

#[tokio::test]
async fn megabytes_pass_in_both_directions_at_once() {
    let SocketRig { client, upstream, relay, .. } = socket_rig().await;
    let payload = test_rig::pattern(70_000);
    let exchange = |end: FarEnd<TcpStream>, payload: Vec<u8>| {
        tokio::spawn(async move {
            let role = end.role;
            let frames = frame(role, BINARY, &payload).repeat(100);
            let (read, mut write) = split(end.stream);
            let sending = tokio::spawn(async move {
                write.write_all(&frames).await.unwrap();
                write
            });
            let mut reading = FarEnd { stream: join(read, sink()), state: end.state, role };
            let mut got = Vec::new();
            while got.len() < 100 * payload.len() {
                let (first, part) = reading.frame_in().await;
                assert!(matches!(first, BINARY | BINARY_BEGINS | MORE | LAST));
                got.extend(part);
            }
            assert!(got == payload.repeat(100));
            let stream = reading.stream.into_inner().0.unsplit(sending.await.unwrap());
            FarEnd { stream, state: Arc::default(), role }
        })
    };
    let (up, down) = (exchange(client, payload.clone()), exchange(upstream, payload));
    let (mut client, mut upstream) = (up.await.unwrap(), down.await.unwrap());
    client.send_close(1000, "").await;
    upstream.gets_close(1000, "").await;
    upstream.send_close(1000, "").await;
    drop(upstream);
    client.is_closed_by(1000, "").await;
    assert_eq!(relay.end().await.to_string(), "the client closed (1000)");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let mut rig = socket_rig().await;
    let frames = rig.upstream.frame(BINARY, &[7; 1 << 16]).repeat(1024);
    let mut written = 0;
    while let Ok(n) =
        timeout(Duration::from_millis(500), rig.upstream.stream.write(&frames[written..])).await
    {
        written += n.unwrap();
    }
    assert!(written < frames.len(), "the flood is held back");
    let sending = tokio::spawn(async move {
        rig.upstream.write(&frames[written..]).await;
        rig.upstream
    });
    let mut got = 0;
    while got < 1024 << 16 {
        got += rig.client.frame_in().await.1.len();
    }
    sending.await.unwrap();
}
