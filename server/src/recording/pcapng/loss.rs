//! Comments about lost events, which pcapng has no block for.

use echogate_proto::recording::Lost;

use crate::recording;

/// The comment of a packet after lost events that begins with a frame, or with the rest of one as a
/// frame of its own.
pub(in crate::recording) const FRAMES_CONTINUE: &str = "frames continue here";

/// The sum of the losses that the comment of the packet after them names.
pub(in crate::recording) fn parse(comment: &str) -> Lost {
    let mut lost = Lost::default();
    for part in comment.split("; ") {
        let mut numbers = part.split(|c: char| !c.is_ascii_digit()).flat_map(str::parse);
        if let (Some(events), Some(bytes)) = (numbers.next(), numbers.next())
            && recording::lost(Lost { events, bytes }) == part
        {
            lost += Lost { events, bytes };
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comments_of_this_program_are_losses() {
        for (comment, expected) in [
            ("lost: 1 event (3 bytes); lost: 20 events (1 byte); closed", (21, 4)),
            ("lost: 2 of 3 packets; lost: 1 events (3 bytes); found: 1 event (3 bytes)", (0, 0)),
        ] {
            let Lost { events, bytes } = parse(comment);
            assert_eq!((events, bytes), expected, "{comment}");
        }
    }
}
