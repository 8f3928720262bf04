//! A recording in any format is read or refused, and the error is one line with an offset in the
//! file.

#![no_main]

use echogate::internals::read_recording;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Err(why) = read_recording(bytes) else { return };
    assert_eq!(why.lines().count(), 1, "{why}");
    let offset = why.strip_prefix("byte ").and_then(|rest| rest.split(':').next()?.parse().ok());
    assert!(offset.is_some_and(|offset: usize| offset <= bytes.len()), "{why}");
});
