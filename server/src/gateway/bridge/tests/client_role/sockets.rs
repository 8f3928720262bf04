//! The client role over TCP on an event loop: resets as a socket shows them.

use echogate_event_loop::InFlight;
use tokio::net::TcpStream;

use super::*;
use crate::gateway::test_rig::{OnEventLoop, RESET, read_to_end, reset, tcp};

/// A bridge in the client role on an event loop, and the other ends of its connections.
struct Bridged {
    client: TcpStream,
    upstream: TcpStream,
    relay: OnEventLoop<End>,
}

async fn bridge() -> Bridged {
    let (client, stream) = tcp().await;
    let (upstream, ws) = tcp().await;
    let negotiated = Negotiated { config: config(Framing::Bytes).into(), half_close: false };
    let bridge = run(Role::Client, ws, stream, b"", negotiated, enter(), &Drain::new());
    Bridged { client, upstream, relay: OnEventLoop::spawn(bridge) }
}

/// The next frame that the upstream receives.
async fn received(upstream: &mut TcpStream) -> (u8, Vec<u8>) {
    let (first, _, payload) = read_frame(upstream, Role::Client).await.expect("no end before");
    (first, payload)
}

/// Waits until everything that was written to `stream` has arrived, so that a reset discards nothing.
async fn wait_until_acknowledged(stream: &TcpStream) {
    while InFlight::on(stream).is_some_and(|bytes| !bytes.is_nothing()) {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_close_in_order_is_a_fin_to_the_client_and_another_a_reset() {
    let sent = vec![7; 1 << 20];
    for (code, expected) in [(1000, Ok(())), (1001, Ok(())), (1011, RESET), (3000, RESET)] {
        let mut bridged = bridge().await;
        let frames = [server_frame(0x82, &sent), close(CloseCode(code), "")].concat();
        let (upstream, client) = (&mut bridged.upstream, &mut bridged.client);
        let closing = async {
            upstream.write_all(&frames).await.unwrap();
            assert_eq!(received(upstream).await, (0x88, close_payload(code, "")));
            upstream.shutdown().await.unwrap();
        };
        let ((), (got, end)) = tokio::join!(closing, read_to_end(client));
        assert!(got == sent, "{code}: {} bytes", got.len());
        assert_eq!(end, expected, "{code}");
        assert_eq!(bridged.relay.end().await.code.0, code);
    }
}

#[tokio::test]
async fn what_a_client_sent_before_its_reset_reaches_the_upstream_before_the_reset() {
    let mut bridged = bridge().await;
    let sent = vec![7; 200_000];
    bridged.client.write_all(&sent).await.unwrap();
    wait_until_acknowledged(&bridged.client).await;
    reset(bridged.client);
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.extend(received(&mut bridged.upstream).await.1);
    }
    assert!(got == sent);
    let end = read_to_end(&mut bridged.upstream).await;
    assert_eq!(end, (Vec::new(), RESET), "no Close, and a reset");
    assert_eq!(bridged.relay.end().await.to_string(), "the client reset the connection (1006)");
}

#[tokio::test]
async fn an_upstream_that_is_cut_off_resets_the_client_behind_what_it_sent() {
    for resets in [true, false] {
        let mut bridged = bridge().await;
        let sent = vec![7; 1 << 20];
        let (upstream, client) = (&mut bridged.upstream, &mut bridged.client);
        let mut got = vec![0; sent.len()];
        let frame = server_frame(0x82, &sent);
        let (written, read) = tokio::join!(upstream.write_all(&frame), client.read_exact(&mut got));
        written.and(read.map(drop)).unwrap();
        assert!(got == sent);
        if resets {
            reset(bridged.upstream);
        } else {
            drop(bridged.upstream);
        }
        let end = read_to_end(&mut bridged.client).await;
        assert_eq!(end, (Vec::new(), RESET), "upstream resets: {resets}");
        assert_eq!(bridged.relay.end().await.code, CloseCode::ABNORMAL);
    }
}
