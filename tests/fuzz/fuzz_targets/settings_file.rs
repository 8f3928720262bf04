//! A configuration file is accepted or rejected, and the error is one line that names a line of the
//! file.

#![no_main]

use std::path::Path;

use echogate::internals::check_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The check of a route reads the certificate files that it names.
    if text.contains("ca") {
        return;
    }
    let Err(why) = check_file(Path::new("file"), text) else { return };
    assert_eq!(why.lines().count(), 1, "{why}");
    assert!(!why.contains(|c: char| c.is_control()), "{why:?}");
    let line = why.split_once("file:").and_then(|(_, why)| why.split(':').next()?.parse().ok());
    let lines = 1 + text.matches('\n').count();
    assert!(line.is_some_and(|line: usize| (1..=lines).contains(&line)), "{why}");
});
