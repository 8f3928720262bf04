//! HAR files in the developer tools of Chromium: their page runs its own importer and writer.

use std::fs;

use echogate_tests::{
    browser::Page,
    server::Server,
    ws::{RawWs, first},
};
use serde_json::json;

use super::{assert_status, echogate, stdout};
use crate::{ECHOGATE, recordings::Recorded};

/// The developer tools, as a page of their own.
const TOOLS: &str = "devtools://devtools/bundled/devtools_app.html";

#[test]
fn chromium_imports_a_har_and_the_har_that_it_writes_replays_with_no_difference() {
    let Some(mut page) = Page::open(TOOLS) else { return };
    let route = ["--route", "/u=service:upper"];
    let mut recorded = Recorded::with_format("har", &route);
    let mut socket = RawWs::connect(&recorded.server, "/u");
    for (opcode, payload) in [(first::TEXT, "wörd"), (first::BINARY, "\0\u{80}")] {
        socket.send_frame(opcode, payload.as_bytes());
        socket.read();
    }
    socket.end(1000, "");
    recorded.server.wait_for_connections(<[_]>::is_empty);
    recorded.server.signal("TERM");
    recorded.server.wait();
    let [file] = &recorded.files()[..] else { panic!("not one file") };

    let imported = page.eval(&format!(
        "(async () => {{
            const {{ HARFormat, Importer, Log }} = await import('./models/har/har.js');
            const root = new HARFormat.HARRoot({});
            const requests = Importer.Importer.requestsFromHARLog(root.log);
            const messages = ({{ type, opCode, text }}) => [type, opCode, text];
            return {{
                messages: requests.map((request) => request.frames().map(messages)),
                har: {{ log: await Log.Log.build(requests, {{ sanitize: false }}) }},
            }};
        }})()",
        fs::read_to_string(file).unwrap(),
    ));
    let expected = json!([[
        ["send", 1, "wörd"],
        ["receive", 1, "WöRD"],
        ["send", 2, "AMKA"],
        ["receive", 2, "AMKA"],
        ["send", 8, "A+g="],
        ["receive", 8, "A+g="],
    ]]);
    assert_eq!(imported["messages"], expected);

    fs::write(file, imported["har"].to_string()).unwrap();
    let server = Server::start(ECHOGATE, &route);
    let output = echogate("replay", file, &[&server.ws("/u"), "--paced-by-peer", "--compare"]);
    assert_status(&output, 0);
    assert!(stdout(&output).ends_with("the same: 1 connection\n"), "{}", stdout(&output));
}
