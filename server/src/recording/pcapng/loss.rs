//! Comments about lost events, which pcapng has no block for.

use echogate_proto::recording::Lost;

/// The comment of a packet after lost events that begins with a frame, or with the rest of one as a
/// frame of its own.
pub(in crate::recording) const FRAMES_CONTINUE: &str = "frames continue here";

/// The comment of the packet after lost events.
pub(super) fn comment(lost: Lost) -> String {
    format!("{} events ({} bytes) were lost here", lost.events, lost.bytes)
}

/// The sum of the losses that a comment of a packet names.
pub(in crate::recording) fn parse(comment: &str) -> Lost {
    let mut lost = Lost::default();
    for part in comment.split("; ").filter_map(|part| part.strip_suffix(" bytes) were lost here")) {
        if let Some((events, bytes)) = part.split_once(" events (")
            && let (Ok(events), Ok(bytes)) = (events.parse(), bytes.parse())
        {
            lost += Lost { events, bytes };
        }
    }
    lost
}
