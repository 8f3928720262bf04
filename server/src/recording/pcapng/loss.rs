//! Comments about lost events, which pcapng has no block for.

use echogate_proto::recording::Lost;

/// The comment of the packet behind lost events.
pub(super) fn comment(lost: Lost) -> String {
    format!("{} events ({} bytes) were lost here", lost.events, lost.bytes)
}

/// The sum of the losses that a comment of a packet names.
pub(in crate::recording) fn parse(comment: &str) -> Lost {
    let losses = comment.split("; ").filter_map(|part| {
        let (events, bytes) =
            part.strip_suffix(" bytes) were lost here")?.split_once(" events (")?;
        Some(Lost { events: events.parse().ok()?, bytes: bytes.parse().ok()? })
    });
    losses.fold(Lost::default(), add)
}

/// The sum of losses.
pub(in crate::recording) fn add(a: Lost, b: Lost) -> Lost {
    Lost { events: a.events.saturating_add(b.events), bytes: a.bytes.saturating_add(b.bytes) }
}
