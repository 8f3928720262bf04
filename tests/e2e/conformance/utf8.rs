//! Family 6: text messages, and text that is not UTF-8, which fails the connection at the first
//! octet that cannot continue it.
//!
//! The sequences are those of Markus Kuhn's UTF-8 decoder test.

use echogate_tests::ws::{self, first};

use super::case::{Case, Chop, fragments, last, more, text, text_begins};

/// `κόσμε` with an omicron that takes three octets.
pub(super) const GREEK: &[u8] = "κ\u{1f79}σμε".as_bytes();
const MIXED: &str = "Hello-µ@ßöäüàá-UTF-8!!";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = empty_fragments();
    cases.extend(valid_in_fragments());
    cases.extend(invalid_in_fragments());
    cases.extend(fail_fast());
    for (family, (title, sequences)) in (5..).zip(sequences()) {
        for (i, sequence) in (1..).zip(sequences) {
            cases.push(one_frame(format!("6.{family}.{i}"), title, &sequence));
        }
    }
    cases.extend(beyond_autobahn());
    cases
}

fn empty_fragments() -> Vec<Case> {
    let middle = "middle frame payload";
    vec![
        Case::new("6.1.1", "an empty text message").send([text("")]).text("").closes(),
        Case::new("6.1.2", "three empty fragments")
            .send([text_begins(""), more(""), last("")])
            .text("")
            .closes(),
        Case::new("6.1.3", "a fragment between two empty ones")
            .send([text_begins(""), more(middle), last("")])
            .text(middle)
            .closes(),
    ]
}

fn valid_in_fragments() -> Vec<Case> {
    let (start, end) = MIXED.split_at(MIXED.find('ü').expect("it is there"));
    let single = |number: &str, payload: &[u8]| {
        Case::new(number, "fragments of one octet")
            .send(fragments(1, payload, 1))
            .text(payload)
            .closes()
    };
    vec![
        Case::new("6.2.1", "one frame").send([text(MIXED)]).text(MIXED).closes(),
        Case::new("6.2.2", "two fragments that end with characters")
            .send([text_begins(start), last(end)])
            .text(MIXED)
            .closes(),
        single("6.2.3", MIXED.as_bytes()),
        single("6.2.4", GREEK),
    ]
}

fn invalid_in_fragments() -> Vec<Case> {
    let payload = [GREEK, &[0xed, 0xa0, 0x80], b"edited"].concat();
    vec![
        one_frame("6.3.1", "a surrogate", &payload),
        Case::new("6.3.2", "a surrogate, in fragments of one octet")
            .send(fragments(1, &payload, 1))
            .unfinished(1, continuable(&payload))
            .fails_by(1007),
    ]
}

/// The client stops sending at the first invalid octet, or soon after it: the server cannot wait
/// for the end of the frame or of the message.
fn fail_fast() -> Vec<Case> {
    let beyond_unicode = [0xf4, 0x90, 0x80, 0x80];
    let payload = [GREEK, &beyond_unicode, b"edited"].concat();
    let failing = |number: &str, title: &str| {
        Case::new(number, title).unfinished(1, continuable(&payload)).fails_by(1007)
    };
    let frame = text(&payload);
    // The head of the frame, with its masking key.
    let head = frame.len() - payload.len();
    let chops = |number: &str, title: &str, start: usize, end: usize| {
        failing(number, title)
            .send([frame[..head + start].to_vec()])
            .begins_to_reply(GREEK.len())
            .send([frame[head + start..head + end].to_vec()])
            .may_be_cut()
    };
    vec![
        failing("6.4.1", "a fragment with a character beyond Unicode")
            .send([text_begins(GREEK)])
            .begins_to_reply(GREEK.len())
            .send([more(beyond_unicode)]),
        failing("6.4.2", "a fragment up to the octet that cannot continue")
            .send([text_begins(&payload[..12])])
            .begins_to_reply(GREEK.len())
            .send([more(&payload[12..13])]),
        chops("6.4.3", "a part of a frame with a character beyond Unicode", 11, 15),
        chops("6.4.4", "a part of a frame up to the octet that cannot continue", 12, 13),
    ]
}

/// A text message in one frame, answered if it is valid.
fn one_frame(number: impl Into<String>, title: &str, payload: &[u8]) -> Case {
    let case = Case::new(number, format!("{title}: \"{}\"", payload.escape_ascii()));
    let case = case.send([text(payload)]);
    if str::from_utf8(payload).is_ok() {
        case.text(payload).closes()
    } else {
        case.unfinished(1, continuable(payload)).fails_by(1007)
    }
}

/// The longest start of `payload` that valid UTF-8 can begin with.
fn continuable(payload: &[u8]) -> &[u8] {
    let fails = |len: &usize| {
        str::from_utf8(&payload[..*len]).is_err_and(|error| error.error_len().is_some())
    };
    let len = (1..=payload.len()).find(fails).map_or(payload.len(), |len| len - 1);
    &payload[..len]
}

/// The families 6.5 to 6.23.
fn sequences() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let list = |sequences: &[&[u8]]| sequences.iter().map(|s| s.to_vec()).collect::<Vec<_>>();
    let incomplete: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    let continuation_bytes = b"\x80\xbf\x80\xbf\x80\xbf";
    let mut unexpected = list(&[b"\x80", b"\xbf"]);
    unexpected.extend((2..=6).map(|len| continuation_bytes[..len].to_vec()));
    unexpected.push((0x80..=0xbf).collect());
    let lonely = [0xc0..=0xdf, 0xe0..=0xef, 0xf0..=0xf7, 0xf8..=0xfb, 0xfc..=0xfd_u8];
    let (high, low) = ([0xd800, 0xdb7f, 0xdb80, 0xdbff], [0xdc00, 0xdfff]);
    let single = [0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff];
    let paired = high.iter().flat_map(|&h| low.map(|l| [surrogate(h), surrogate(l)].concat()));
    let noncharacters =
        (0..=16).flat_map(|plane| [0xfffe, 0xffff].map(|c| utf8((plane << 16) | c)));
    vec![
        (
            "valid",
            list(&[
                b"hello$world",
                "hello¢world".as_bytes(),
                "hello€world".as_bytes(),
                "hello\u{24b62}world".as_bytes(),
                GREEK,
            ]),
        ),
        ("a prefix of valid text", (1..=GREEK.len()).map(|len| GREEK[..len].to_vec()).collect()),
        ("the first character of a length", [0, 0x80, 0x800, 0x1_0000].map(utf8).to_vec()),
        (
            "the first of length 5 or 6",
            list(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        ),
        ("the last character of a length", [0x7f, 0x7ff, 0xffff, 0x10_ffff].map(utf8).to_vec()),
        (
            "the last of length 4, 5 or 6",
            list(&[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        ),
        (
            "a border",
            [0xd7ff, 0xe000, 0xfffd, 0x10_ffff]
                .map(utf8)
                .into_iter()
                .chain([b"\xf4\x90\x80\x80".to_vec()])
                .collect(),
        ),
        ("unexpected continuation octets", unexpected),
        (
            "first octets without others",
            lonely.map(|octets| octets.flat_map(|octet| [octet, b' ']).collect()).to_vec(),
        ),
        ("the last octet is missing", list(&incomplete)),
        ("incomplete sequences", vec![incomplete.concat()]),
        ("octets that do not exist", list(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"])),
        (
            "an overlong ASCII character",
            list(&[
                b"\xc0\xaf",
                b"\xe0\x80\xaf",
                b"\xf0\x80\x80\xaf",
                b"\xf8\x80\x80\x80\xaf",
                b"\xfc\x80\x80\x80\x80\xaf",
            ]),
        ),
        (
            "the greatest overlong sequence",
            list(&[
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            ]),
        ),
        (
            "an overlong NUL",
            list(&[
                b"\xc0\x80",
                b"\xe0\x80\x80",
                b"\xf0\x80\x80\x80",
                b"\xf8\x80\x80\x80\x80",
                b"\xfc\x80\x80\x80\x80\x80",
            ]),
        ),
        ("a surrogate", single.map(|code| surrogate(code).to_vec()).to_vec()),
        ("a pair of surrogates", paired.collect()),
        ("a noncharacter", noncharacters.collect()),
        ("a special character", (0xfff9..=0xffff).map(utf8).collect()),
    ]
}

fn utf8(code_point: u32) -> Vec<u8> {
    char::from_u32(code_point).expect("a Unicode scalar value").to_string().into_bytes()
}

/// The UTF-8 form that a surrogate would have if it were a character.
fn surrogate(code_point: u16) -> [u8; 3] {
    let [high, low] = code_point.to_be_bytes();
    [0xe0 | high >> 4, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]
}

fn beyond_autobahn() -> Vec<Case> {
    let mut cases = Vec::new();
    let payload = "aß€𤭢z".as_bytes();
    // Two fragments, divided at each octet, with a Ping between them.
    for at in 0..=payload.len() {
        let (start, end) = payload.split_at(at);
        for (kind, chop) in [(1, Chop::Whole), (2, Chop::Frames), (3, Chop::Octets(1))] {
            cases.push(
                Case::new(format!("E6.{kind}.{at}"), "two fragments, a Ping between them")
                    .send_in(chop, [text_begins(start), ws::frame(first::PING, b"p"), last(end)])
                    .pong("p")
                    .text(payload)
                    .closes(),
            );
        }
    }
    // One frame in two writes, divided at each octet after its head.
    let frame = text(payload);
    for at in 1..payload.len() {
        let (start, end) = frame.split_at(frame.len() - payload.len() + at);
        cases.push(
            Case::new(format!("E6.4.{at}"), "a frame in two writes")
                .send_in(Chop::Frames, [start.to_vec(), end.to_vec()])
                .text(payload)
                .closes(),
        );
    }
    // A character that the message's end leaves incomplete.
    for (i, len) in [2, 4, 5, 7, 8, 9].into_iter().enumerate() {
        let payload = &payload[..len];
        cases.push(
            Case::new(format!("E6.5.{i}"), format!("the end within a character, {len} octets"))
                .send([text("before"), text_begins(payload), last(""), text("behind")])
                .text("before")
                .unfinished(1, payload)
                .fails_by(1007),
        );
    }
    cases.push(
        Case::new("E6.6", "a binary message that is not UTF-8")
            .send([ws::frame(first::BINARY, b"\xff\xc0\x80\xed\xa0\x80")])
            .binary(b"\xff\xc0\x80\xed\xa0\x80")
            .closes(),
    );
    cases.push(
        Case::new("E6.7", "a message before one that is not UTF-8")
            .send([text("before"), text("\u{80}x\u{7ff}"), text(b"\xff"), text("behind")])
            .text("before")
            .text("\u{80}x\u{7ff}")
            .fails_by(1007),
    );
    cases
}
