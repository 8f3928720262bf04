use proptest::prelude::*;

use super::*;

/// The bytes on the wire for `input` in pieces of the sizes of `cuts`.
fn part(framer: &mut Framer, input: &[u8], cuts: &[usize]) -> Result<Vec<u8>, FramingError> {
    let (mut out, mut rest) = (Vec::new(), input);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (mut piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        while let Some(next) = framer.next(piece, Rest::Send)? {
            next.head.append_to(&mut out);
            out.extend_from_slice(&piece[next.payload]);
            piece = &piece[next.taken..];
        }
        assert!(piece.is_empty(), "all input is taken");
        assert!(!framer.replies_at_once(), "and nothing is left to be said");
    }
    Ok(out)
}

/// The same, with the stream's end after it.
fn wire(framer: &mut Framer, input: &[u8], cuts: &[usize]) -> Result<Vec<u8>, FramingError> {
    let mut out = part(framer, input, cuts)?;
    if let Some(last) = framer.finish()? {
        out.extend_from_slice(last.head.as_bytes());
    }
    Ok(out)
}

/// The messages in a server's bytes: opcode and payload, fragments put together.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut all, mut open): (Vec<(u8, Vec<u8>)>, bool) = (Vec::new(), false);
    while let [first, second, rest @ ..] = bytes {
        let (len, at) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => (usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(), 8),
            len => (usize::from(*len), 0),
        };
        let payload = &rest[at..at + len];
        if open {
            assert_eq!(first & 0xf, 0, "a continuation");
            all.last_mut().unwrap().1.extend_from_slice(payload);
        } else {
            assert_ne!(first & 0xf, 0, "a first frame");
            all.push((first & 0xf, payload.to_vec()));
        }
        open = first & 0x80 == 0;
        bytes = &rest[at + len..];
    }
    assert!(bytes.is_empty() && !open, "whole messages");
    all
}

fn framed(framing: Framing, input: &[u8], cuts: &[usize]) -> Vec<(u8, Vec<u8>)> {
    messages(&wire(&mut Framer::new(framing), input, cuts).unwrap())
}

#[test]
fn bytes_come_as_binary_messages_of_at_most_64_kib() {
    let sizes: Vec<_> = framed(Framing::Bytes, &[7; 150_000], &[10])
        .into_iter()
        .map(|(opcode, payload)| (opcode, payload.len()))
        .collect();
    assert_eq!(sizes, [(2, 10), (2, 65536), (2, 65536), (2, 18918)]);
}

#[test]
fn a_character_split_across_reads_arrives_whole() {
    let text = "a\u{20ac}\u{1f600}".as_bytes();
    let ones = vec![1; text.len()];
    let expected: Vec<(u8, Vec<u8>)> = ["a", "\u{20ac}", "\u{1f600}"].map(|s| (1, s.into())).into();
    assert_eq!(framed(Framing::Text, text, &ones), expected);
}

#[test]
fn text_that_is_not_utf8_is_an_error_and_never_replaced() {
    for framing in [Framing::Text, Framing::Line] {
        for (bytes, what) in [(&b"ab\xff"[..], "a wrong byte"), (b"ab\xe2\x82", "a cut character")]
        {
            let result = wire(&mut Framer::new(framing), bytes, &[]);
            assert_eq!(result, Err(FramingError::InvalidUtf8), "{what}");
        }
    }
    let result = wire(&mut Framer::new(Framing::Line), b"\xe2\x82\nabc\n", &[]);
    assert_eq!(result, Err(FramingError::InvalidUtf8), "a character cut by a line's end");
}

#[test]
fn lines_come_without_their_ends_wherever_they_are_cut() {
    let stream = b"one\ntwo\r\n\n\r\nthr\ree\r\r\nlast\r";
    let expected: Vec<(u8, Vec<u8>)> =
        ["one", "two", "", "", "thr\ree\r", "last\r"].map(|s| (1, s.into())).into();
    assert_eq!(framed(Framing::Line, stream, &[]), expected);
    assert_eq!(framed(Framing::Line, stream, &vec![1; stream.len()]), expected);
}

#[test]
fn a_carriage_return_within_a_character_is_no_text() {
    for cuts in [&[][..], &[1], &[2], &[1, 1]] {
        let wire = wire(&mut Framer::new(Framing::Line), b"\xc3\r\xa9\n", cuts);
        assert_eq!(wire, Err(FramingError::InvalidUtf8), "{cuts:?}");
    }
}

#[test]
fn each_message_gets_its_reply_empty_ones_and_fragments_included() {
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Binary, true, 0);
    framer.expect(OpCode::Text, false, 1);
    framer.expect(OpCode::Continuation, true, 2);
    framer.expect(OpCode::Text, true, 0);
    assert_eq!(framer.expected(), 4);
    let out = wire(&mut framer, "\u{20ac}".as_bytes(), &[]).unwrap();
    assert_eq!(out, [0x82, 0, 0x01, 1, 0xe2, 0x80, 2, 0x82, 0xac, 0x81, 0]);
    assert_eq!(framer.expected(), 0);
}

#[test]
fn a_reply_that_is_too_long_or_too_short_is_an_error() {
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Binary, true, 3);
    assert_eq!(wire(&mut framer, b"abcd", &[]), Err(FramingError::NotAsked));
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Binary, true, 3);
    assert_eq!(wire(&mut framer, b"ab", &[]), Err(FramingError::ReplyMissing));
}

#[test]
fn a_reply_of_which_a_part_has_arrived_goes_out_in_fragments() {
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Text, true, 6);
    framer.expect(OpCode::Binary, false, 2);
    framer.expect(OpCode::Continuation, true, 2);
    let out = part(&mut framer, b"abcdefghij", &[1, 3, 3, 1]).unwrap();
    assert_eq!(out, b"\x01\x01a\x00\x03bcd\x80\x02ef\x02\x01g\x00\x01h\x80\x02ij");
}

#[test]
fn a_read_ends_with_a_reply_where_more_are_owed_than_fit() {
    let mut framer = Framer::new(Framing::Message);
    assert_eq!(framer.whole_replies(100), 100, "nothing is expected");
    (0..3).for_each(|_| framer.expect(OpCode::Binary, true, 40));
    assert_eq!(framer.whole_replies(100), 80);
    assert_eq!(framer.whole_replies(120), 120);
    assert_eq!(framer.whole_replies(1000), 1000, "all of them fit");
    assert_eq!(framer.whole_replies(30), 30, "not even one fits");
}

#[test]
fn a_frame_that_is_cut_off_is_owed_a_reply_to_what_has_come() {
    for (before, missing, replies) in [
        (0, 3, &[][..]),
        (0, 1, &[0x02, 2, b'a', b'b'][..]),
        (1, 3, &[0x82, 3, b'a', b'b', b'c']),
        (2, 1, &[0x82, 3, b'a', b'b', b'c', 0x82, 3, b'd', b'e', b'f', 0x02, 2, b'g', b'h']),
    ] {
        let mut framer = Framer::new(Framing::Message);
        (0..=before).for_each(|_| framer.expect(OpCode::Binary, true, 3));
        framer.shorten_last(missing);
        let input = &b"abcdefgh"[..(before + 1) * 3 - usize::try_from(missing).unwrap()];
        assert_eq!(part(&mut framer, input, &[]).unwrap(), replies, "{before} {missing}");
        assert_eq!(framer.expected(), 0);
    }
    // A part of the reply has been sent already.
    for (missing, rest) in [(1, &b"c"[..]), (2, b"")] {
        let mut framer = Framer::new(Framing::Message);
        framer.expect(OpCode::Text, true, 4);
        assert_eq!(part(&mut framer, b"ab", &[]).unwrap(), [0x01, 2, b'a', b'b']);
        framer.shorten_last(missing);
        let sent = part(&mut framer, rest, &[]).unwrap();
        assert!(sent.is_empty() == rest.is_empty() && (sent.is_empty() || sent[0] == 0x00));
        assert_eq!(framer.expected(), 0);
        assert!(!framer.is_within_reply());
    }
}

#[test]
fn a_reply_that_has_arrived_whole_is_one_frame() {
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Text, true, 3);
    assert_eq!(framer.next(b"ab", Rest::Wait), Ok(None));
    assert!(framer.needs_more(1, b"b") && !framer.needs_more(2, b"c"));
    let whole = framer.next(b"abc", Rest::Wait).unwrap().unwrap();
    assert_eq!((whole.head, whole.payload), (FrameHeader::new(OpCode::Text, true, 3), 0..3));
}

#[test]
fn the_valid_beginning_of_text_arrives_however_it_is_cut() {
    let input = "gr\u{fc}\u{df} dich".as_bytes();
    let input = [input, b"\xff and more"].concat();
    for cut in 0..input.len() {
        let mut framer = Framer::new(Framing::Text);
        let (mut out, mut failed) = (Vec::new(), None);
        for mut piece in [&input[..cut], &input[cut..]] {
            while failed.is_none() {
                match framer.next(piece, Rest::Wait) {
                    Ok(None) => break,
                    Ok(Some(next)) => {
                        next.head.append_to(&mut out);
                        out.extend_from_slice(&piece[next.payload]);
                        piece = &piece[next.taken..];
                    }
                    Err(e) => failed = Some(e),
                }
            }
        }
        let all: Vec<u8> = messages(&out).into_iter().flat_map(|(_, payload)| payload).collect();
        assert_eq!(String::from_utf8(all).unwrap(), "gr\u{fc}\u{df} dich", "cut at {cut}");
        assert_eq!(failed, Some(FramingError::InvalidUtf8), "cut at {cut}");
    }
}

#[test]
fn a_reply_to_text_must_be_text() {
    let mut framer = Framer::new(Framing::Message);
    framer.expect(OpCode::Text, true, 3);
    assert_eq!(
        framer.next(b"a", Rest::Send),
        Ok(Some(Outgoing {
            head: FrameHeader::new(OpCode::Text, false, 1),
            payload: 0..1,
            taken: 1,
            ends_message: false,
        }))
    );
    assert_eq!(framer.next(b"\xff", Rest::Send), Err(FramingError::InvalidUtf8));
}

/// The messages that a framing with options makes of `input` in pieces of the sizes of `cuts`: as
/// a bridge does, what a framer does not take is given again with what follows.
fn framed_with(
    framing: Framing,
    options: FramingOptions,
    input: &[u8],
    cuts: &[usize],
) -> Result<Vec<(u8, Vec<u8>)>, FramingError> {
    let mut framer = Framer::with_options(framing, &options);
    let (mut out, mut held, mut rest) = (Vec::new(), Vec::new(), input);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        let replaced =
            if framer.replaces_invalid() { framer.replace_invalid(piece, 0) } else { None };
        held.extend_from_slice(replaced.as_deref().unwrap_or(piece));
        let mut at = 0;
        while let Some(next) = framer.next(&held[at..], Rest::Wait)? {
            next.head.append_to(&mut out);
            out.extend_from_slice(&held[at..][next.payload]);
            at += next.taken;
        }
        held.drain(..at);
    }
    if let Some(last) = framer.next(&held, Rest::Last)? {
        last.head.append_to(&mut out);
        out.extend_from_slice(&held[last.payload]);
        held.drain(..last.taken);
    }
    assert!(held.is_empty(), "all input is taken");
    if let Some(last) = framer.finish()? {
        out.extend_from_slice(last.head.as_bytes());
    }
    Ok(messages(&out))
}

fn invalid(invalid: InvalidText) -> FramingOptions {
    FramingOptions { invalid, ..FramingOptions::default() }
}

/// Every way to cut `len` bytes in two, all bytes apart, and no cut.
fn all_cuts(len: usize) -> Vec<Vec<usize>> {
    (0..len).map(|cut| vec![cut]).chain([vec![1; len], vec![]]).collect()
}

#[test]
fn a_line_that_is_not_utf8_is_replaced_or_binary_and_the_others_are_text() {
    let input = b"caf\xc3\xa9\r\ncaf\xe9\r\n\xe2\x82\n\xe2\x82\xac\n\nend \xf0\x9f";
    let replaced: Vec<(u8, Vec<u8>)> =
        ["caf\u{e9}", "caf\u{fffd}", "\u{fffd}", "\u{20ac}", "", "end \u{fffd}"]
            .map(|s| (1, s.into()))
            .into();
    let binary: [(u8, &[u8]); 6] = [
        (1, "caf\u{e9}".as_bytes()),
        (2, b"caf\xe9"),
        (2, b"\xe2\x82"),
        (1, "\u{20ac}".as_bytes()),
        (1, b""),
        (2, b"end \xf0\x9f"),
    ];
    let binary = binary.map(|(opcode, payload)| (opcode, payload.to_vec()));
    for cuts in all_cuts(input.len()) {
        let got = framed_with(Framing::Line, invalid(InvalidText::Replace), input, &cuts).unwrap();
        assert_eq!(got, replaced, "{cuts:?}");
        let got = framed_with(Framing::Line, invalid(InvalidText::Binary), input, &cuts).unwrap();
        assert_eq!(got, binary, "{cuts:?}");
    }
}

#[test]
fn a_line_that_is_not_held_back_to_its_end_is_binary_however_it_is_cut() {
    let (fits, long) = ("x".repeat(MAX_HELD_LINE - 1), "x".repeat(MAX_HELD_LINE));
    let input = format!("{fits}\r\n{long}\r\nx\r\n{long}x");
    let expected =
        [(1, fits.clone()), (2, long.clone()), (1, "x".to_owned()), (2, long.clone() + "x")];
    let expected = expected.map(|(opcode, payload)| (opcode, payload.into_bytes()));
    for cuts in [vec![], vec![1000; 300], vec![MAX_HELD_LINE; 4], vec![MAX_HELD_LINE + 1; 4]] {
        let options = invalid(InvalidText::Binary);
        let got = framed_with(Framing::Line, options, input.as_bytes(), &cuts).unwrap();
        assert!(got == expected, "{:?}", got.iter().map(|m| (m.0, m.1.len())).collect::<Vec<_>>());
    }
}

#[test]
fn text_that_is_not_utf8_is_a_binary_message_of_what_has_arrived() {
    let options = invalid(InvalidText::Binary);
    let input = b"abc\xe9\xe2\x82\xac\xf0";
    let got = framed_with(Framing::Text, options, input, &[2, 4, 1]).unwrap();
    let expected: [(u8, &[u8]); 4] =
        [(1, b"ab"), (2, b"c\xe9"), (1, b"\xe2\x82\xac"), (2, b"\xf0")];
    assert_eq!(got, expected.map(|(opcode, payload)| (opcode, payload.to_vec())));
}

/// The records of `payloads`, each with its length in `prefix` bytes in front.
fn records(prefix: u8, payloads: &[Vec<u8>]) -> Vec<u8> {
    let framer = Framer::with_options(Framing::Length, &prefix_of(prefix));
    let mut out = Vec::new();
    for payload in payloads {
        framer.append_prefix(payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
    }
    out
}

fn prefix_of(prefix: u8) -> FramingOptions {
    FramingOptions { prefix, ..FramingOptions::default() }
}

#[test]
fn a_record_is_a_binary_message_without_its_length() {
    let input = b"\0\x03abc\0\0\0\x01d";
    for cuts in all_cuts(input.len()) {
        let got = framed_with(Framing::Length, prefix_of(2), input, &cuts).unwrap();
        let expected: [(u8, &[u8]); 3] = [(2, b"abc"), (2, b""), (2, b"d")];
        assert_eq!(got, expected.map(|(opcode, payload)| (opcode, payload.to_vec())), "{cuts:?}");
    }
    assert_eq!(records(4, &[b"ab".to_vec()]), b"\0\0\0\x02ab");
    assert_eq!(records(2, &[b"ab".to_vec()]), b"\0\x02ab");
}

#[test]
fn a_stream_that_ends_within_a_record_is_an_error() {
    for input in [&b"\0"[..], b"\0\x02", b"\0\x02a", b"\0\x01a\0"] {
        for cuts in all_cuts(input.len()) {
            let result = framed_with(Framing::Length, prefix_of(2), input, &cuts);
            assert_eq!(result, Err(FramingError::RecordCut), "{input:?} {cuts:?}");
        }
    }
}

#[test]
fn a_record_of_which_a_part_has_arrived_goes_out_in_fragments() {
    let mut framer = Framer::with_options(Framing::Length, &prefix_of(2));
    let out = part(&mut framer, b"\0\x05abcde\0\x01f", &[1, 1, 2, 2]).unwrap();
    assert_eq!(out, b"\x02\x02ab\x00\x02cd\x80\x01e\x82\x01f");
    assert_eq!(framer.finish(), Ok(None));
}

#[test]
fn a_message_is_as_long_as_the_framing_can_say() {
    let longest = |framing, prefix| Framer::with_options(framing, &prefix_of(prefix)).max_message();
    assert_eq!(longest(Framing::Length, 2), 65_535);
    assert_eq!(longest(Framing::Length, 4), u64::from(u32::MAX));
    assert_eq!(longest(Framing::Datagrams, 4), 65_507);
    assert_eq!(longest(Framing::Bytes, 4), u64::MAX);
}

#[test]
fn a_datagram_is_one_message_of_any_size() {
    let datagram = vec![7; 65_507];
    assert_eq!(framed(Framing::Datagrams, &datagram, &[]), [(2, datagram)]);
    assert!("datagrams".parse::<Framing>().is_err(), "the transport chooses it");
}

#[test]
fn the_options_are_read_and_what_is_unknown_is_refused() {
    assert_eq!("replace".parse(), Ok(InvalidText::Replace));
    assert_eq!("crlf".parse(), Ok(Newline::CrLf));
    assert!("".parse::<InvalidText>().is_err());
    assert!("CRLF".parse::<Newline>().is_err());
}

/// Bytes that are text in part, with line endings.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'\n'),
        Just(b'\r'),
        Just(b'a'),
        Just(0xe2_u8),
        Just(0x82),
        Just(0xac),
        Just(0xf0),
        Just(0x9f),
        0..=255_u8
    ];
    proptest::collection::vec(byte, 0..120)
}

/// The messages of framing `line`: text where a line is valid UTF-8, else binary.
fn lines_of(input: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (whole, rest) =
        input.split_at(input.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1));
    let lines = whole.split_inclusive(|&byte| byte == b'\n').map(|line| {
        let line = &line[..line.len() - 1];
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    let last = Some(rest).filter(|rest| !rest.is_empty());
    let kind = |line: &[u8]| if std::str::from_utf8(line).is_ok() { 1 } else { 2 };
    lines.chain(last).map(|line| (kind(line), line.to_vec())).collect()
}

proptest! {
    #[test]
    fn no_message_is_longer_than_the_chunk_and_no_byte_is_lost(
        text in "[a\u{e9}\u{20ac}\u{1f600}]{0,900}",
        chunk in MIN_CHUNK..=600,
        cuts in proptest::collection::vec(0..700_usize, 0..20),
    ) {
        let options = FramingOptions { chunk, ..FramingOptions::default() };
        for framing in [Framing::Bytes, Framing::Text] {
            let got = framed_with(framing, options, text.as_bytes(), &cuts).unwrap();
            prop_assert!(got.iter().all(|(_, payload)| payload.len() <= chunk));
            let all: Vec<u8> = got.into_iter().flat_map(|(_, payload)| payload).collect();
            prop_assert_eq!(&all, text.as_bytes());
        }
    }

    #[test]
    fn records_are_the_same_in_any_pieces(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
        is_short: bool,
        cuts in proptest::collection::vec(0..200_usize, 0..40),
    ) {
        let prefix = if is_short { 2 } else { 4 };
        let input = records(prefix, &payloads);
        let expected: Vec<(u8, Vec<u8>)> =
            payloads.into_iter().map(|payload| (2, payload)).collect();
        let got = framed_with(Framing::Length, prefix_of(prefix), &input, &cuts).unwrap();
        prop_assert_eq!(&got, &expected);
        let mut framer = Framer::with_options(Framing::Length, &prefix_of(prefix));
        prop_assert_eq!(messages(&wire(&mut framer, &input, &cuts).unwrap()), expected);
    }

    #[test]
    fn replaced_text_is_the_same_in_any_pieces(
        input in any_text(),
        cuts in proptest::collection::vec(0..9_usize, 0..80),
    ) {
        let options = invalid(InvalidText::Replace);
        let expected = String::from_utf8_lossy(&input).into_owned();
        let got = framed_with(Framing::Text, options, &input, &cuts).unwrap();
        let got: Vec<u8> = got.into_iter().flat_map(|(_, payload)| payload).collect();
        prop_assert_eq!(String::from_utf8(got).unwrap(), &*expected);
        let got = framed_with(Framing::Line, options, &input, &cuts).unwrap();
        prop_assert_eq!(got, lines_of(expected.as_bytes()));
    }

    #[test]
    fn binary_lines_and_text_keep_every_byte_in_any_pieces(
        input in any_text(),
        cuts in proptest::collection::vec(0..9_usize, 0..80),
    ) {
        let options = invalid(InvalidText::Binary);
        let got = framed_with(Framing::Line, options, &input, &cuts).unwrap();
        prop_assert_eq!(got, lines_of(&input));
        let got = framed_with(Framing::Text, options, &input, &cuts).unwrap();
        for (opcode, payload) in &got {
            prop_assert!(*opcode == 2 || std::str::from_utf8(payload).is_ok());
        }
        let all: Vec<u8> = got.into_iter().flat_map(|(_, payload)| payload).collect();
        prop_assert_eq!(all, input);
    }

    #[test]
    fn replies_keep_boundaries_and_types_in_any_pieces(
        // Many are alike.
        sizes in proptest::collection::vec((prop_oneof![0..3_usize, 0..400_usize], any::<bool>()), 0..40),
        behind in 0..6_usize,
        cuts in proptest::collection::vec(0..200_usize, 0..80),
    ) {
        let mut framer = Framer::new(Framing::Message);
        let (mut expected, mut out) = (Vec::new(), Vec::new());
        for (i, (size, text)) in sizes.into_iter().enumerate() {
            let opcode = if text { OpCode::Text } else { OpCode::Binary };
            framer.expect(opcode, true, size as u64);
            expected.push((opcode.bits(), vec![u8::try_from(i).unwrap(); size]));
            // Some replies come before all messages have.
            if let Some((_, payload)) = i.checked_sub(behind).map(|i| &expected[i]) {
                out.extend(part(&mut framer, payload, &cuts).unwrap());
            }
        }
        for (_, payload) in &expected[expected.len().saturating_sub(behind)..] {
            out.extend(part(&mut framer, payload, &cuts).unwrap());
        }
        prop_assert_eq!(framer.expected(), 0);
        prop_assert_eq!(messages(&out), expected);
    }
}
