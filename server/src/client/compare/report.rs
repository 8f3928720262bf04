//! A comparison as text.

use std::fmt::Write;

use echogate_proto::{
    hex,
    recording::{Direction, Payload},
};

use super::{
    comparison::{Comparison, ConnectionComparison, Counts, Figures},
    content::DirectionEnd,
    difference::{Difference, Excerpt, Shown},
};
use crate::text::{counted, escape::escape};

/// The report, without a newline at its end.
pub(super) fn text(comparison: &Comparison, names: [&str; 2]) -> String {
    let mut text = format!("A: {}\nB: {}\n", escape(names[0]), escape(names[1]));
    for connection in &comparison.connections {
        add(&mut text, connection).expect("writing to a String cannot fail");
    }
    let all = comparison.connections.len();
    match comparison.different() {
        0 => text += &format!("the same: {}", counted(all, "connection")),
        different => text += &format!("different: {different} of {}", counted(all, "connection")),
    }
    text
}

fn add(text: &mut String, connection: &ConnectionComparison) -> std::fmt::Result {
    let ConnectionComparison { number, target, only_in, differences, failures, a, b, .. } =
        connection;
    let state = if connection.is_same() { "the same" } else { "different" };
    write!(text, "connection {number}")?;
    if !target.is_empty() {
        write!(text, " to {}", escape(target))?;
    }
    writeln!(text, ": {state}")?;
    if let Some(name) = only_in {
        writeln!(text, "  only in {}", name.to_uppercase())?;
    }
    for failure in failures {
        writeln!(text, "  B: {}", escape(failure))?;
    }
    for difference in differences {
        for line in lines(difference) {
            writeln!(text, "  {line}")?;
        }
    }
    for (name, figures) in [("A", a), ("B", b)] {
        if let Some(figures) = figures {
            writeln!(text, "  {name}: {}", summary(figures))?;
        }
    }
    if let Some(shift) = connection.latency_shift_ms {
        writeln!(text, "  latency shift: {shift:+.3} ms (median of B - A)")?;
    }
    Ok(())
}

/// The lines about the differences in what the clients have sent.
pub(in crate::client) fn of_clients(comparison: &Comparison) -> Vec<String> {
    let differences = comparison.connections.iter().flat_map(|connection| &connection.differences);
    let of_clients = differences.filter(|difference| difference.direction == Direction::ToServer);
    of_clients.flat_map(lines).collect()
}

/// A difference in three lines.
pub(super) fn lines(difference: &Difference) -> [String; 3] {
    let Difference { direction, message, offset, a, b } = difference;
    let mut position = match direction {
        Direction::ToServer => "to the server".to_owned(),
        Direction::ToClient => "to the client".to_owned(),
    };
    if let Some(message) = message {
        position += &format!(", message {message}");
    }
    match offset {
        Some(offset) => position += &format!(", byte {offset}"),
        None if message.is_none() => position += ", the end",
        None => {}
    }
    [position + ":", format!("  A: {}", shown(a)), format!("  B: {}", shown(b))]
}

fn shown(shown: &Shown) -> String {
    match shown {
        Shown::Nothing => "nothing more".to_owned(),
        Shown::End(DirectionEnd::EndOfInput) => "end of input".to_owned(),
        Shown::End(DirectionEnd::Reset) => "reset".to_owned(),
        Shown::End(DirectionEnd::Close { code, reason }) => {
            let code = code.map_or_else(|| "without a code".to_owned(), |code| code.to_string());
            let reason = if reason.is_empty() { String::new() } else { format!(" {reason:?}") };
            format!("Close {code}{reason}")
        }
        Shown::Excerpt(Excerpt { kind, before, cut, payload }) => {
            let dots = cut.map(|cut| if cut { "…" } else { "" });
            let kind = kind.map_or_else(String::new, |kind| format!("{kind} "));
            // A bar marks the beginning of the difference.
            let (front, back) = payload.as_bytes().split_at(*before);
            match payload {
                Payload::Text(text) if text.is_char_boundary(*before) => {
                    let (front, back) = text.split_at(*before);
                    let [front, back] = [front, back].map(escape);
                    format!("{kind}{}{front}|{back}{}", dots[0], dots[1])
                }
                _ => {
                    let [front, back] = [front, back].map(hex::encode);
                    format!("{kind}hex {}{front} | {back}{}", dots[0], dots[1])
                }
            }
        }
    }
}

fn summary(figures: &Figures) -> String {
    let counts = |counts: &Counts| {
        let mut text = counted(counts.bytes, "byte");
        for (name, count) in
            [("message", counts.messages), ("Ping", counts.pings), ("Pong", counts.pongs)]
        {
            if count > 0 {
                text += &format!(" {}", counted(count, name));
            }
        }
        text
    };
    let mut text = format!(
        "{} to the server, {} to the client",
        counts(&figures.to_server),
        counts(&figures.to_client)
    );
    if let Some(latency) = figures.latency {
        text += &format!(
            "; {} replies after {:.3} ms (median), {:.3} ms (90 %)",
            latency.replies, latency.median_ms, latency.p90_ms
        );
    }
    for missing in &figures.missing {
        text += &format!("; {}", escape(missing));
    }
    text
}
