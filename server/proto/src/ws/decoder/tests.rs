use proptest::prelude::*;

use super::*;
use crate::ws::{FrameHeader, frame::masked_frame};

const LIMIT: u64 = 100_000;

/// A message or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Message(MessageType, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, Vec<u8>),
}

/// A client's frame, its header written by hand, so that every rule can be broken.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, k)| byte ^ k));
    bytes
}

/// Decodes `bytes` as a server, in pieces of the sizes that `cuts` gives, the rest in one.
fn decode(bytes: &[u8], cuts: &[usize]) -> (Vec<Item>, Option<Violation>) {
    decode_as(Role::Server, bytes, cuts)
}

/// Decodes `bytes` likewise in the role `role`.
fn decode_as(role: Role, bytes: &[u8], cuts: &[usize]) -> (Vec<Item>, Option<Violation>) {
    let mut decoder = Decoder::with_role(role, LIMIT);
    let (mut items, mut message_type, mut message) = (Vec::new(), MessageType::Binary, Vec::new());
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        let (mut buf, mut at) = (piece.to_vec(), 0);
        loop {
            match decoder.next(&mut buf, &mut at) {
                Err(violation) => return (items, Some(violation)),
                Ok(None) => break,
                Ok(Some(Event::Message { opcode, range })) => {
                    let text = opcode == OpCode::Text;
                    let message_type = if text { MessageType::Text } else { MessageType::Binary };
                    items.push(Item::Message(message_type, buf[range].to_vec()));
                }
                Ok(Some(Event::Frame { opcode, .. })) => match opcode {
                    OpCode::Text => message_type = MessageType::Text,
                    OpCode::Binary => message_type = MessageType::Binary,
                    _ => {}
                },
                Ok(Some(Event::Payload { range, ends_message })) => {
                    message.extend_from_slice(&buf[range]);
                    if ends_message {
                        items.push(Item::Message(message_type, std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Event::Ping)) => items.push(Item::Ping(decoder.control_payload().to_vec())),
                Ok(Some(Event::Pong)) => items.push(Item::Pong(decoder.control_payload().to_vec())),
                Ok(Some(Event::Close(code))) => {
                    items.push(Item::Close(code.0, decoder.control_payload().to_vec()));
                    return (items, None);
                }
            }
        }
        assert_eq!(at, buf.len(), "all bytes are taken");
    }
    (items, None)
}

fn violation(bytes: &[u8]) -> Violation {
    let whole = decode(bytes, &[]).1.expect("a violation");
    let ones = vec![1; bytes.len()];
    assert_eq!(decode(bytes, &ones).1, Some(whole), "the same byte by byte");
    whole
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let message = Item::Message(MessageType::Text, b"Hello".to_vec());
    assert_eq!(decode(&hello, &[]), (vec![message], None));
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&ping, &[]).0, [Item::Ping(b"Hello".to_vec())]);
}

#[test]
fn control_frames_come_between_the_fragments_of_a_message() {
    let bytes = [
        frame(0x01, "Ze\u{308}".as_bytes().split_at(3).0),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, "Ze\u{308}".as_bytes().split_at(3).1),
        frame(0x88, &[0x03, 0xe8, b'o', b'k']),
        frame(0x82, b"after the end"),
    ]
    .concat();
    let expected = [
        Item::Ping(b"are you there".to_vec()),
        Item::Pong(vec![]),
        Item::Message(MessageType::Text, "Ze\u{308}".into()),
        Item::Close(1000, b"ok".to_vec()),
    ];
    assert_eq!(decode(&bytes, &[]).0, expected);
    assert_eq!(decode(&bytes, &vec![1; bytes.len()]).0, expected);
}

#[test]
fn each_breach_of_the_protocol_is_told_apart() {
    use Violation::*;
    for (bytes, expected, code) in [
        (frame(0xc1, b"a"), ReservedBits, 1002),
        (frame(0x91, b"a"), ReservedBits, 1002),
        (frame(0x83, b"a"), ReservedOpcode(3), 1002),
        (frame(0x8b, b"a"), ReservedOpcode(11), 1002),
        (vec![0x81, 0x01, b'a'], Unmasked, 1002),
        (frame(0x09, b"a"), FragmentedControl, 1002),
        (frame(0x89, &[0; 126]), LongControl, 1002),
        (vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], BadLength, 1002),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], BadLength, 1002),
        (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], BadLength, 1002),
        (frame(0x80, b"a"), NothingToContinue, 1002),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), MessageInMessage, 1002),
        (frame(0x81, b"\xff"), InvalidUtf8, 1007),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"a")].concat(), InvalidUtf8, 1007),
        ([frame(0x01, b"a"), frame(0x80, b"\xe2\x82")].concat(), InvalidUtf8, 1007),
        (frame(0x88, &[3]), ShortClose, 1002),
        (frame(0x88, &1005_u16.to_be_bytes()), BadCloseCode(1005), 1002),
        (frame(0x88, &999_u16.to_be_bytes()), BadCloseCode(999), 1002),
        (frame(0x88, &[3, 0xe8, 0xff]), InvalidReason, 1007),
        (frame(0x82, &vec![0; 100_001]), TooBig(LIMIT), 1009),
        ([frame(0x02, &[0; 60_000]), frame(0x80, &[0; 60_000])].concat(), TooBig(LIMIT), 1009),
    ] {
        assert_eq!(violation(&bytes), expected);
        assert_eq!(expected.close_code().0, code, "{expected}");
        assert!(expected.to_string().len() <= 123, "the reason fits a Close frame");
    }
}

#[test]
fn a_message_that_is_too_big_is_refused_by_its_head() {
    let mut head = vec![0x82, 0xff];
    head.extend((LIMIT + 1).to_be_bytes());
    head.extend([0; 4]);
    assert_eq!(decode(&head, &[]).1, Some(Violation::TooBig(LIMIT)));
}

/// The frames of one message with control frames between them, and the items they stand for.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Item>)> {
    let type_and_payload = prop_oneof![
        ".{0,200}".prop_map(|text| (MessageType::Text, text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| (MessageType::Binary, bytes)),
        (65_530..65_550_usize, any::<u8>())
            .prop_map(|(len, b)| (MessageType::Binary, vec![b; len])),
    ];
    let cuts = proptest::collection::vec((0..120_usize, any::<bool>()), 0..4);
    (type_and_payload, cuts).prop_map(|((message_type, payload), cuts)| {
        let (mut bytes, mut items) = (Vec::new(), Vec::new());
        let (mut rest, mut opcode) = (payload.as_slice(), OpCode::from(message_type).bits());
        for (cut, ping) in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            bytes.extend(frame(opcode, piece));
            (rest, opcode) = (behind, 0);
            if ping {
                bytes.extend(frame(0x89, &piece[..piece.len().min(125)]));
                items.push(Item::Ping(piece[..piece.len().min(125)].to_vec()));
            }
        }
        bytes.extend(frame(0x80 | opcode, rest));
        items.push(Item::Message(message_type, payload));
        (bytes, items)
    })
}

/// Frames as a server sends them, and as a client does.
fn frames_of_both_roles() -> [Vec<u8>; 2] {
    let parts: [(OpCode, &[u8]); 6] = [
        (OpCode::Text, "größer".as_bytes()),
        (OpCode::Binary, &[0; 126]),
        (OpCode::Ping, b"?"),
        (OpCode::Binary, &[7; 65_536]),
        (OpCode::Pong, b""),
        (OpCode::Close, &[0x03, 0xe8, b'o', b'k']),
    ];
    let unmasked = parts.map(|(opcode, payload)| {
        [FrameHeader::new(opcode, true, payload.len() as u64).as_bytes(), payload].concat()
    });
    [unmasked.concat(), parts.map(|(opcode, payload)| masked_frame(opcode, payload, KEY)).concat()]
}

const KEY: [u8; 4] = [1, 2, 3, 4];

#[test]
fn both_roles_read_the_same_from_the_other_roles_frames() {
    let [unmasked, masked] = frames_of_both_roles();
    let (items, violation) = decode_as(Role::Client, &unmasked, &[]);
    assert_eq!((items.len(), violation), (6, None));
    assert_eq!(decode_as(Role::Client, &unmasked, &vec![1; unmasked.len()]), (items.clone(), None));
    assert_eq!(decode(&masked, &[]), (items, None));
}

#[test]
fn a_client_refuses_masked_frames() {
    let masked = masked_frame(OpCode::Binary, b"a", KEY);
    assert_eq!(decode_as(Role::Client, &masked, &[]), (vec![], Some(Violation::Masked)));
}

#[test]
fn code_and_reason_of_a_close_that_must_not_be_sent_remain_readable() {
    let mut decoder = Decoder::with_role(Role::Client, LIMIT);
    let mut close = *b"\x88\x05\x03\xeewhy";
    assert_eq!(decoder.next(&mut close, &mut 0), Err(Violation::BadCloseCode(1006)));
    assert_eq!(decoder.control_payload(), b"\x03\xeewhy");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_pieces_give_the_same_messages(
        messages in proptest::collection::vec(message(), 0..6),
        cuts in proptest::collection::vec(1..70_000_usize, 0..20),
        small in proptest::collection::vec(1..16_usize, 0..60),
    ) {
        let (bytes, items): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let (bytes, items) = (bytes.concat(), items.concat());
        prop_assert_eq!(&decode(&bytes, &[]), &(items.clone(), None));
        prop_assert_eq!(&decode(&bytes, &cuts), &(items.clone(), None));
        prop_assert_eq!(&decode(&bytes, &small), &(items, None));
    }

    #[test]
    fn noise_gives_the_same_verdict_in_any_pieces(
        bytes in proptest::collection::vec(
            prop_oneof![Just(0x81_u8), Just(0x82), Just(0x80), Just(0x89), Just(0x88), 0..=255_u8],
            0..200,
        ),
        cuts in proptest::collection::vec(1..9_usize, 0..60),
    ) {
        prop_assert_eq!(decode(&bytes, &cuts), decode(&bytes, &[]));
    }
}
