//! A parsed endpoint URL is displayed as it was read, and a parse error is one line.

#![no_main]

use echogate_proto::endpoint::{Endpoint, HostPort};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(at) = text.parse::<HostPort>() {
        assert_eq!(at.to_string().parse::<HostPort>(), Ok(at), "{text}");
    }
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let written = endpoint.to_string();
            assert_eq!(written.parse::<Endpoint>(), Ok(endpoint), "{text} is written as {written}");
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
});
