//! `echogate compare`.

use std::fs;

use super::{DOWN, Recording, UP, assert_status, echogate, stderr, stdout};

fn answer(text: &str) -> Recording {
    Recording::new().websocket(1).text(1, UP, "ask").text(1, DOWN, text)
}

#[test]
fn equal_recordings_have_status_0_and_different_ones_1_and_unreadable_ones_2() {
    let (a, b) = (answer("one"), answer("two"));
    let [a_file, b_file] = [a.file(), b.file()];
    assert_status(&echogate("compare", &a_file, &[a_file.to_str().unwrap()]), 0);
    let output = echogate("compare", &a_file, &[b_file.to_str().unwrap()]);
    assert_status(&output, 1);
    let text = stdout(&output);
    let difference = "to the client, message 1, byte 0:\n    A: text |one\n    B: text |two\n";
    assert!(text.contains(difference), "{text}");
    let output = echogate("compare", &a_file, &["/nowhere"]);
    assert_status(&output, 2);
    assert_eq!(stderr(&output), "echogate: /nowhere: no such file or directory\n");
    let unwritable = [a_file.to_str().unwrap(), "--junit", "/nowhere/result.xml"];
    assert_status(&echogate("compare", &a_file, &unwritable), 2);
}

#[test]
fn patterns_remove_what_differs_each_time() {
    let a = answer(r#"{"id":17,"time":1.5,"ok":true}"#);
    let b = answer(r#"{"id":4,"time":22.75,"ok":true}"#);
    let (a_file, b_file) = (a.file(), b.file());
    let b_file = b_file.to_str().unwrap();
    assert_status(&echogate("compare", &a_file, &[b_file]), 1);
    let ignore = [b_file, "--ignore", r#""id":\d+"#, "--ignore", r#""time":[\d.]+"#];
    assert_status(&echogate("compare", &a_file, &ignore), 0);
}

#[test]
fn the_result_is_json_and_junit_too() {
    let (a, b) = (answer("one"), answer("two"));
    let junit = a.folder.path().join("result.xml");
    let arguments = [b.file().to_str().unwrap(), "--json", "--junit", junit.to_str().unwrap()]
        .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = echogate("compare", &a.file(), &arguments);
    assert_status(&output, 1);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["same"], false);
    let difference = &json["connections"][0]["differences"][0];
    assert_eq!(difference["direction"], "to-client");
    assert_eq!((&difference["message"], &difference["offset"]), (&1.into(), &0.into()));
    assert_eq!(difference["a"]["excerpt"]["text"], "one");
    let xml = fs::read_to_string(junit).unwrap();
    assert!(xml.contains("tests=\"1\" failures=\"1\""), "{xml}");
    assert!(xml.contains("A: text |one"), "{xml}");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let a = answer("one");
    let output = echogate("compare", &a.file(), &["x", "--ignore", "("]);
    assert_status(&output, 2);
    assert!(stderr(&output).contains("unclosed group"), "{}", stderr(&output));
}
