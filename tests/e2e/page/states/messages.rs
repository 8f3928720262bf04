//! Messages: the transcript, opened rows, the composer, files.

use std::{fs, io::Read as _};

use echogate_tests::browser::Page;

use super::{
    super::{LATEST, connected, connected_to_upstream, page_at, say},
    Look, choose, fill, open_details,
};

const LONG: &str = "a_long_message_without_any_space_";

/// Sends a message and opens its reply.
fn open_reply(page: &mut Page, text: &str, reply: &str) {
    say(page, text);
    page.wait_for_text(LATEST, reply);
    page.click(".rows .received:last-child");
    page.wait_for("!document.querySelector('#detail').hidden");
}

pub(in super::super) fn messages(look: &mut Look<'_>) {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    look(&mut page, "connected", "");
    open_reply(&mut page, &LONG.repeat(9), "A_LONG");
    page.wait_for_text("#detail", "differs");
    look(&mut page, "opened text", "");
    page.click("#view-hex");
    page.wait_for("document.querySelector('.hexdump')");
    page.click("#pin");
    page.wait_for_text("#pin", "Unpin");
    look(&mut page, "opened dump, pinned", "");
    let json = format!(r#"{{"{LONG}":[1,2,{{"B":"{}"}}],"C":{{"D":{{"E":[]}}}}}}"#, LONG.repeat(4));
    open_reply(&mut page, &json, r#"{"A_LONG"#);
    page.click("#view-json");
    page.wait_for("document.querySelector('#detail .json')");
    look(&mut page, "opened JSON", "");
    let fold = "document.querySelector('#detail .json details').open = false";
    look(
        &mut page,
        "folded JSON, copies",
        &format!("{fold}; {}", open_details("#detail .menu-button")),
    );
    page.click("#close-detail");
    look(&mut page, "menu of the transcript", &open_details(".transcript > header .menu-button"));
    choose(&mut page, "#pairing", "field");
    page.wait_for("!document.querySelector('#pairing-field').hidden");
    fill(&mut page, "#search", "(");
    page.click("#pattern");
    page.wait_for("!document.querySelector('#search-problem').hidden");
    look(&mut page, "wrong pattern, pairs by a field", "");
    fill(&mut page, "#search", "nowhere");
    page.wait_for_text(".view", "No matching rows.");
    look(&mut page, "no matching rows", "");
    page.eval("document.querySelector('#search').select()");
    page.press("Delete");
    choose(&mut page, "#pairing", "order");
    fill(&mut page, "#message", "burst");
    fill(&mut page, "#burst", "300");
    page.click("#burst-send");
    page.wait_for_text("#figure-received", "302 messages");
    page.eval("document.querySelector('#transcript').scrollTop = 0");
    page.wait_for("!document.querySelector('#to-end').hidden");
    look(&mut page, "older rows, measurements as a table", &open_details("#charts details"));
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    look(&mut page, "disconnected", "");
    loaded(look);
}

/// A transcript of a file, of another day.
fn loaded(look: &mut Look<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a transcript with a name that is longer than others.jsonl");
    let row = r#"{"time":1790000000.5,"connection":1,"event":"data","side":"client","direction":"to-server","kind":"text","text":"hello"}"#;
    fs::write(&file, format!("{row}\n").repeat(40)).unwrap();
    let Some((_server, mut page)) = page_at("/") else { return };
    page.pick_file("#load", &file);
    page.wait_for_text("#state-headline", "From a file");
    look(&mut page, "transcript of a file", "");
}

pub(in super::super) fn composer(look: &mut Look<'_>) {
    let Some((_server, mut page)) = connected() else { return };
    choose(&mut page, "#pairing", "none");
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for_text("#latency-hint", "No reply");
    page.click("#escapes");
    choose(&mut page, "#line-ending", "CR LF");
    fill(&mut page, "#message", r"a wrong escape \q");
    page.wait_for_text("#composer-problem", "The backslash");
    look(&mut page, "no pairing, a wrong escape", "");
    fill(&mut page, "#message", "{\"a\":[1,]}");
    page.wait_for_text("#composer-size", "not JSON");
    page.click("#save-message");
    page.wait_for("!document.querySelector('#delete-message').hidden");
    look(&mut page, "saved message, ways to share", &open_details(".composer .menu-button"));
    choose(&mut page, "#template", "time");
    page.wait_for_text("#composer-problem", "refreshed with each send");
    fill(&mut page, "#interval", "60000");
    page.click("#repeat");
    page.wait_for_text("#repeat", "Stop");
    look(&mut page, "repeating", "");
    page.click("#repeat");
    page.click("label[for=mode-hex]");
    fill(&mut page, "#message", "00 6g");
    page.wait_for_text("#composer-problem", "is not a hexadecimal digit");
    look(&mut page, "wrong digits", "");
}

pub(in super::super) fn files(look: &mut Look<'_>) {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    page.click("label[for=mode-file]");
    look(&mut page, "no file yet", "");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{}.bin", LONG.repeat(4)));
    fs::write(&path, vec![0; 9 << 20]).unwrap();
    page.pick_file("#file", &path);
    page.wait_for_text("#file-name", "9.0 MiB");
    choose(&mut page, "#expect", "1");
    page.click("#file-start");
    stream.read_exact(&mut [0; 1000]).unwrap();
    page.wait_for_text("#file-status", "of 9.0 MiB");
    look(&mut page, "a file under way", "");
    drop(stream);
    page.wait_for_text("#file-status", "the connection ended");
    look(&mut page, "a file whose connection was lost", "");
}
