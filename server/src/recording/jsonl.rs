//! JSON Lines: one [`Record`](echogate_proto::recording::Record) a line.

use super::{decode::RecordDecoder, wire::WireRecord};

/// An encoder of the connections in one file.
#[derive(Debug, Default)]
pub(crate) struct JsonlEncoder {
    decoder: RecordDecoder,
}

impl JsonlEncoder {
    /// Appends the lines of an event to `out`.
    pub(crate) fn encode(&mut self, record: WireRecord, out: &mut Vec<u8>) {
        self.decoder.decode(record, |record| {
            serde_json::to_writer(&mut *out, &record).expect("records have no maps");
            out.push(b'\n');
        });
    }
}
