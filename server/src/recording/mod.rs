//! Recordings: the events of connections, in memory and in files.
//!
//! - [`wire`]: events as a tap of a connection sees them: bytes and ends
//! - [`decode`]: the decoder from these events to events with frames, as in JSON Lines
//! - [`file`]: a file that is written in a [`format`], by the encoders [`pcapng`], [`jsonl`] and
//!   [`har`]; [`position`]: the events with which a connection continues in another file
//! - `json`: appending JSON to a buffer; [`head`]: the recorded heads of an opening handshake
//! - [`model`]: a recording in memory, to replay and compare; [`read`]: reading files of any format

pub(crate) mod decode;
pub(crate) mod file;
pub(crate) mod format;
mod har;
pub(crate) mod head;
mod json;
mod jsonl;
pub(crate) mod model;
mod pcapng;
pub(crate) mod position;
pub(crate) mod read;
pub(crate) mod wire;

use echogate_proto::recording::Lost;

use crate::text::counted;

/// The text about lost events.
fn lost(Lost { events, bytes }: Lost) -> String {
    format!("lost: {} ({})", counted(events, "event"), counted(bytes, "byte"))
}

/// The text about the bytes of a connection that passed before the recording of it began, or that an
/// earlier file has.
fn earlier_bytes(count: u64) -> String {
    format!("bytes before this file: {count}")
}

/// The text about connections of which a recorder has lost all events.
fn missing_connections(count: u64) -> String {
    format!("connections that are missing in this recording: {count}")
}
