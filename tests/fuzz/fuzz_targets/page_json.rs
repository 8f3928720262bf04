//! The page's JSON reader accepts the same texts as serde_json, and reads the same values.

#![no_main]

use std::collections::HashMap;

use echogate_web::json::{Json, quote};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The maximum depth of the page's reader.
const DEPTH: usize = 32;

fuzz_target!(|text: &str| {
    let mut quoted = String::new();
    quote(text, &mut quoted);
    assert_eq!(Json::read(&quoted), Some(Json::Text(text.to_owned())));
    assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);

    match (Json::read(text), serde_json::from_str::<Value>(text)) {
        (Some(ours), Ok(theirs)) => assert!(same(&ours, &theirs), "{ours:?}, {theirs}"),
        (None, Err(_)) => {}
        (None, Ok(theirs)) => assert!(depth(&theirs) > DEPTH, "{theirs}"),
        (Some(ours), Err(e)) => {
            assert!(e.to_string().starts_with("number out of range"), "{ours:?}: {e}")
        }
    }
});

fn same(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::Text(ours), Value::String(theirs)) => ours == theirs,
        (Json::Number(ours, _), Value::Number(theirs)) => {
            let theirs = theirs.as_f64().unwrap();
            // Numbers close to 0, which have fewer digits, may become 0.
            (ours - theirs).abs() <= theirs.abs() * 1e-14 + 1e-290
        }
        (Json::List(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            // serde_json keeps the last of several members with the same name.
            let ours: HashMap<_, _> = ours.iter().map(|(name, value)| (name, value)).collect();
            ours.len() == theirs.len()
                && ours.iter().all(|(name, a)| theirs.get(*name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
