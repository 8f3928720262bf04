//! A PROXY header is read to its end and no further; written again in either version it means
//! the same.

#![no_main]

use std::io::{self, ErrorKind};

use echogate::fuzzing::{Ends, Version, read_header};
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;

/// The meaning of the header that `bytes` begin with, and its length.
fn read(bytes: &[u8]) -> io::Result<(Option<Ends>, usize)> {
    let mut rest = bytes;
    let ends = read_header(&mut rest).now_or_never().expect("a slice is always ready")?;
    Ok((ends, bytes.len() - rest.len()))
}

fuzz_target!(|bytes: &[u8]| {
    let (ends, len) = match read(bytes) {
        Ok(read) => read,
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{e}");
            assert_eq!(e.to_string().lines().count(), 1, "an error is one line: {e}");
            return;
        }
    };
    for cut in 0..len {
        let kind = read(&bytes[..cut]).map_err(|e| e.kind());
        assert_eq!(kind, Err(ErrorKind::UnexpectedEof), "cut at {cut}");
    }
    let [v1, v2] = [Version::V1, Version::V2].map(|version| version.header(ends));
    let ((again, v1_len), (ends, v2_len)) = (read(&v1).unwrap(), read(&v2).unwrap());
    assert_eq!((again, v1_len, v2_len), (ends, v1.len(), v2.len()));
    assert_eq!(Version::V1.header(ends), v1);
    assert_eq!(Version::V2.header(ends), v2);
});
