//! The frame decoder and tungstenite's give the same results for any bytes. The first byte is the
//! size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../e2e/codec/model.rs"]
mod model;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let size = usize::from(size) + 1;
    model::compare(bytes, &vec![size; bytes.len() / size]);
});
