use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn agrees(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::Number(ours, _), Value::Number(theirs)) => {
            let theirs = theirs.as_f64().unwrap();
            (ours - theirs).abs() <= theirs.abs() * 1e-14
        }
        (Json::Text(ours), Value::String(theirs)) => ours == theirs,
        (Json::List(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| agrees(a, b))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(key, value)| agrees(value, &theirs[key]))
        }
        _ => false,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1e18..1e18).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(Value::from_iter),
        ]
    })
}

#[test]
fn the_position_of_an_error_is_named() {
    for (text, at) in [
        ("[1]", None),
        ("{\"ä\":1} ", None),
        ("[1,]", Some(4)),
        ("{\"ä\" 1}", Some(6)),
        ("[1", Some(3)),
        ("1 2", Some(3)),
    ] {
        assert_eq!(Json::error_at(text), at, "{text}");
    }
}

#[test]
fn what_is_no_json_is_not_read() {
    for wrong in [
        "",
        "nul",
        "tru",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"",
        "\"\n\"",
        r#""\x""#,
        r#""\ud800""#,
        r#""\udc00""#,
        "[1,]",
        "[1 2]",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":1,}",
        "[] []",
    ] {
        assert_eq!(Json::read(wrong), None, "{wrong}");
        assert!(serde_json::from_str::<Value>(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Json::read(&"[".repeat(100_000)), None, "nor a value that would fill the stack");
}

#[test]
fn escapes_and_numbers_are_what_they_stand_for() {
    assert_eq!(Json::read(r#" "\ud83d\ude00\n\/" "#), Some(Json::Text("😀\n/".into())));
    for (text, number) in
        [("-0.5e1", -5.0), ("1E-3", 0.001), ("0", 0.0), ("0e9999", 0.0), ("12.25", 12.25)]
    {
        assert_eq!(Json::read(text), Some(Json::Number(number, text.into())), "{text}");
    }
}

proptest! {
    #[test]
    fn what_others_write_is_read_as_they_mean_it(value in any_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert!(agrees(&Json::read(&text).unwrap(), &value), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_by_others(text: String) {
        let mut quoted = String::new();
        quote(&text, &mut quoted);
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn nothing_at_all_makes_it_panic(text: String) {
        let _read = Json::read(&text);
    }
}
