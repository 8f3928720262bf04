//! A comparison as JUnit XML, which CI servers read.

use std::fmt::Write;

use super::{comparison::Comparison, report};

/// The XML of a comparison.
pub(super) fn xml(comparison: &Comparison, names: [&str; 2]) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\"",
        comparison.connections.len(),
        comparison.different()
    );
    let suite = escape(&format!("{} and {}", names[0], names[1]));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n\
         <testsuite name=\"{suite}\" {counts}>\n"
    );
    for connection in &comparison.connections {
        let name = escape(&format!("connection {} to {}", connection.number, connection.target));
        let case = format!("<testcase classname=\"echogate.compare\" name=\"{name}\"");
        let mut lines: Vec<String> = connection.failures.clone();
        lines.extend(connection.only_in.map(|name| format!("only in {name}")));
        lines.extend(connection.differences.iter().flat_map(report::lines));
        let written = match lines.first() {
            None => writeln!(xml, "{case}/>"),
            Some(first) => writeln!(
                xml,
                "{case}>\n<failure message=\"{}\">{}</failure>\n</testcase>",
                escape(first.trim_end_matches(':')),
                escape(&lines.join("\n"))
            ),
        };
        written.expect("writing to a String cannot fail");
    }
    xml + "</testsuite>\n</testsuites>\n"
}

/// `text` escaped for XML 1.0, which has no control characters: they become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
