//! JSON Lines: one [`Record`] per line.

use std::io::BufRead;

use echogate_proto::recording::Record;

use super::{
    Builder, check_time,
    input::{Input, ReadError},
};
use crate::recording::model::Recording;

/// The longest line, in bytes.
const MAX_LINE: u64 = 256 << 20;

pub(super) fn read(mut input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    let mut builder = Builder::default();
    loop {
        let start = input.offset();
        let line = input.line(MAX_LINE)?;
        if line.is_empty() {
            return Ok(builder.finish());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice::<Record>(&line).map_err(|error| {
            if !line.ends_with(b"\n") && error.is_eof() {
                return ReadError::end(input.offset(), "the file ends within a line");
            }
            // The text without its position, which counts lines within the line.
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
            let offset = start + error.column().saturating_sub(1) as u64;
            ReadError::new(offset, format!("expected an event in JSON: {text}"))
        });
        match record {
            Ok(record) => {
                check_time(record.time).map_err(|text| ReadError::new(start, text))?;
                builder.add(record);
            }
            Err(error) if builder.is_empty() => return Err(error),
            Err(error) => builder.warn(error.into_warning()?),
        }
    }
}
