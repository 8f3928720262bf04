//! Comments about lost events, which pcapng has no block for.

use echogate_proto::recording::Lost;

/// The comment of a packet after lost events that begins with a frame, or with the rest of one as a
/// frame of its own.
pub(in crate::recording) const FRAMES_CONTINUE: &str = "frames continue here";

/// The sum of the losses that the comment of the packet behind them names
/// ([`lost`](crate::recording::lost)).
pub(in crate::recording) fn parse(comment: &str) -> Lost {
    let mut lost = Lost::default();
    for part in comment.split("; ").filter_map(|part| part.strip_prefix("lost: ")) {
        let mut numbers = part.split(|c: char| !c.is_ascii_digit()).flat_map(str::parse);
        if let (Some(events), Some(bytes)) = (numbers.next(), numbers.next()) {
            lost += Lost { events, bytes };
        }
    }
    lost
}
