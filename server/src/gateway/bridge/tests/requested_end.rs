//! The end of one connection at a request.

use super::*;
use crate::runtime::drain::{EndRequest, ServerClose};

/// The payload of the frame for a client that does not take all of it.
const REPLY: [u8; 1000] = [7; 1000];

/// A bridge whose client has been sent a frame with [`REPLY`], and was to end at a request.
async fn ending_rig() -> Rig {
    let negotiated = Negotiated { config: config(Framing::Bytes).into(), half_close: false };
    let mut rig = rig_between(negotiated, [16, 4096], b"");
    rig.upstream.write_all(&REPLY).await.unwrap();
    request_end(&mut rig).await;
    rig
}

/// Asks the bridge to end once it has relayed what has been written.
async fn request_end(rig: &mut Rig) {
    sleep(Duration::from_millis(1)).await;
    rig.start = Instant::now();
    let close = ServerClose { code: CloseCode(4000), reason: "enough".into() };
    assert!(rig.drain.request_end(1, EndRequest { stage: Stage::Immediate, close }));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_and_does_not_read_is_cut_off() {
    let Rig { mut client, mut upstream, bridge, start, .. } = ending_rig().await;
    let sends = async {
        while client.write_all(&frame(0x82, b"more")).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let reads = async { while upstream.read_u8().await.is_ok() {} };
    let ends = async { (bridge.await.unwrap(), start.elapsed().as_secs()) };
    let all = timeout(HOUR, async { tokio::join!(ends, sends, reads) }).await;
    let ((end, seconds), ..) = all.expect("it ends");
    assert_eq!((end.code, &*end.why), (CloseCode::ABNORMAL, "enough; cut off"));
    assert_eq!(seconds, 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_the_close() {
    let mut rig = ending_rig().await;
    let close = close(CloseCode(4000), "enough");
    let len = 4 + REPLY.len() + close.len();
    let mut read = Vec::new();
    while read.len() < len {
        sleep(Duration::from_secs(4)).await;
        read.extend(rig.at_client((len - read.len()).min(100)).await);
    }
    assert!(read.ends_with(&close));
    rig.client.write_all(&client_close(4000)).await.unwrap();
    assert_eq!(rig.end().await, (4000, "enough".to_owned(), 44));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_take_the_last_bytes_is_reset() {
    let mut rig = rig_with(Framing::Bytes, 64, b"");
    for _ in 0..2 {
        rig.client.write_all(&frame(0x82, &[7; 50])).await.unwrap();
    }
    request_end(&mut rig).await;
    rig.gets_close(CloseCode(4000), "enough").await;
    rig.client.write_all(&client_close(4000)).await.unwrap();
    let why = "enough; bytes not delivered to the upstream: 36";
    assert_eq!(rig.end().await, (4000, why.to_owned(), 5));
}
