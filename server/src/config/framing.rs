//! The framing of a route or a forward, and its options.

use echogate_proto::{
    endpoint::Endpoint,
    framing::{Framing, FramingOptions, MAX_CHUNK, MIN_CHUNK},
};

use crate::recording::model::Traffic;

/// Parses the framing between a client and an upstream with this traffic. `default` is the framing
/// without the option.
///
/// # Errors
///
/// An option is invalid, missing or without effect.
pub(super) fn parse_framing(
    endpoint: &Endpoint,
    client: Traffic,
    upstream: Traffic,
    default: Framing,
) -> Result<(Framing, FramingOptions), String> {
    use Traffic::{Bytes, Datagrams, Messages};

    let given: Option<Framing> = endpoint.option("framing").map(str::parse).transpose()?;
    let framing = match (client, upstream, given) {
        (Bytes, Messages, Some(Framing::Message)) => {
            return Err("framing=message needs a WebSocket client: expected bytes, text, line or \
                        length"
                .to_owned());
        }
        (Bytes, Datagrams, _) | (Datagrams, Bytes, _) if given != Some(Framing::Length) => {
            return Err("datagrams in a byte stream need framing=length".to_owned());
        }
        (Messages, Datagrams, _) | (Datagrams, Messages, _) => Framing::Datagrams,
        (_, _, given) => given.unwrap_or(default),
    };
    Ok((framing, parse_options(endpoint, framing)?))
}

/// Parses the options of `framing`, and rejects those of other framings.
fn parse_options(endpoint: &Endpoint, framing: Framing) -> Result<FramingOptions, String> {
    let option = |key: &str, framings: [Framing; 2]| match endpoint.option(key) {
        Some(_) if !framings.contains(&framing) => {
            let [one, other] = framings;
            let needed = if one == other { one.to_string() } else { format!("{one} or {other}") };
            Err(format!("{key} needs framing={needed}, and the framing here is {framing}"))
        }
        value => Ok(value),
    };
    let mut options = FramingOptions::default();
    if let Some(chunk) = option("chunk", [Framing::Bytes, Framing::Text])? {
        options.chunk = parse_chunk(chunk)?;
    }
    if let Some(invalid) = option("invalid", [Framing::Text, Framing::Line])? {
        options.invalid = invalid.parse()?;
    }
    if let Some(newline) = option("newline", [Framing::Line, Framing::Line])? {
        options.newline = newline.parse()?;
    }
    if let Some(prefix) = option("prefix", [Framing::Length, Framing::Length])? {
        options.prefix = parse_prefix(prefix)?;
    }
    Ok(options)
}

fn parse_chunk(text: &str) -> Result<usize, String> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(chunk @ MIN_CHUNK..=MAX_CHUNK) if is_number => Ok(chunk),
        _ => {
            Err(format!("chunk=\"{text}\": expected a number of bytes, {MIN_CHUNK} to {MAX_CHUNK}"))
        }
    }
}

fn parse_prefix(text: &str) -> Result<u8, String> {
    match text {
        "2" => Ok(2),
        "4" => Ok(4),
        _ => Err(format!("prefix=\"{text}\": expected the bytes of a length, 2 or 4")),
    }
}
