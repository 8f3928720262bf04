//! The computations of the data path, beside a plain copy of the same bytes, and the frame codec
//! beside tungstenite's.

use std::{hint::black_box, io::Cursor};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use echogate::internals;
use echogate_proto::{
    framing::{Framer, Framing, Rest},
    ws::{Decoder, OpCode},
};
use tokio_tungstenite::tungstenite::protocol::{
    Message, Role, WebSocket, WebSocketConfig,
    frame::{
        Frame,
        coding::{Data, OpCode as TungsteniteOpCode},
    },
};

const SIZES: [usize; 3] = [64, 1024, 64 * 1024];

/// The payload bytes of one round, for messages of any size: those of one read.
const ROUND: usize = 128 * 1024;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"abcdefghijklmnopqrstuvwxyz 0123456789"[i % 37]).collect()
}

/// A client's frames for one round.
fn frames(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..ROUND / size {
        let mut frame = Frame::message(payload(size), TungsteniteOpCode::Data(Data::Binary), true);
        frame.header_mut().mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        frame.format(&mut bytes).expect("a Vec takes every byte");
    }
    bytes
}

fn upper(c: &mut Criterion) {
    for size in SIZES {
        let mut group = c.benchmark_group(format!("upper/{size}"));
        group.throughput(Throughput::Bytes(size as u64));
        let source = payload(size);
        let mut bytes = source.clone();
        group.bench_function("copy", |b| b.iter(|| black_box(&mut bytes).copy_from_slice(&source)));
        group.bench_function("upper", |b| {
            b.iter(|| internals::upper(black_box(&mut bytes)));
        });
        group.finish();
    }
}

fn decode(c: &mut Criterion) {
    for size in SIZES {
        let mut group = c.benchmark_group(format!("decode/{size}"));
        group.throughput(Throughput::Elements((ROUND / size) as u64));
        let bytes = frames(size);
        group.bench_function("echogate", |b| {
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| {
                    let (mut decoder, mut at) = (Decoder::new(1 << 20), 0);
                    while let Some(event) = decoder.next(bytes, &mut at).expect("good frames") {
                        black_box(event);
                    }
                },
                BatchSize::LargeInput,
            );
        });
        group.bench_function("tungstenite", |b| {
            b.iter_batched(
                || Cursor::new(bytes.clone()),
                |stream| {
                    let config = Some(WebSocketConfig::default().read_buffer_size(ROUND));
                    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, config);
                    while let Ok(Message::Binary(message)) = socket.read() {
                        black_box(message);
                    }
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

fn frame(c: &mut Criterion) {
    for size in SIZES {
        let mut group = c.benchmark_group(format!("frame/{size}"));
        group.throughput(Throughput::Elements((ROUND / size) as u64));
        let bytes = payload(ROUND);
        group.bench_function("echogate", |b| {
            let mut framer = Framer::new(Framing::Message);
            b.iter(|| {
                for _ in 0..ROUND / size {
                    framer.expect(OpCode::Binary, true, size as u64);
                }
                let mut rest = black_box(bytes.as_slice());
                while let Some(piece) = framer.next(rest, Rest::Wait).expect("what was asked for") {
                    rest = &rest[piece.taken..];
                    black_box(piece);
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, upper, decode, frame);
criterion_main!(benches);
