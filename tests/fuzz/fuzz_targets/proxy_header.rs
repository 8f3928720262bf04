//! A PROXY header is read to its end and no further, and survives encoding in either version.

#![no_main]

use std::io::ErrorKind;

use echogate::internals::proxy_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (written, len) = match proxy_header(bytes) {
        Ok(read) => read,
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{e}");
            assert_eq!(e.to_string().lines().count(), 1, "an error is one line: {e}");
            return;
        }
    };
    for cut in 0..len {
        let kind = proxy_header(&bytes[..cut]).map_err(|e| e.kind());
        assert_eq!(kind, Err(ErrorKind::UnexpectedEof), "cut at {cut}");
    }
    for header in &written {
        assert_eq!(proxy_header(header).unwrap(), (written.clone(), header.len()));
    }
});
