//! Tens of thousands of rows, search, pins, saving and loading.

use std::{fmt::Write as _, io::Write as _};

use super::{LATEST, choose, connected, connected_to_upstream, count, fill, say};

fn numbered(range: std::ops::RangeInclusive<u32>) -> String {
    range.fold(String::new(), |mut lines, n| {
        writeln!(lines, "line {n}").unwrap();
        lines
    })
}

#[test]
fn of_tens_of_thousands_of_rows_few_are_drawn_and_what_is_let_go_is_counted() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    stream.write_all(numbered(1..=60_000).as_bytes()).unwrap();
    page.wait_for_text(LATEST, "line 60000");
    // The row of the opened connection precedes the lines.
    page.wait_for_text("#dropped", "10,001 older rows");
    assert_eq!(page.text("#row-count"), "50,000 rows");
    assert!(count(&mut page, ".rows .line") < 100);
    assert!(page.text("#figure-received").starts_with("60,000 messages"));
    page.eval("document.querySelector('#transcript').scrollTop = 0");
    page.wait_for_text(".rows > .message:first-child", "line 10001");
    stream.write_all(b"the newest\n").unwrap();
    page.wait_for_text("#row-count", "50,000 rows");
    page.click("#to-end");
    page.wait_for_text(LATEST, "the newest");
}

#[test]
fn who_reads_older_rows_is_left_where_they_are() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    stream.write_all(numbered(1..=50_100).as_bytes()).unwrap();
    page.wait_for_text(LATEST, "line 50100");
    page.eval("document.querySelector('#transcript').scrollTop = 400000");
    page.wait_for("!document.querySelector('#to-end').hidden");
    let top = "(() => { const box = document.querySelector('#transcript').getBoundingClientRect();
        return document.elementFromPoint(box.x + 200, box.y + box.height / 2).closest('.line').innerText; })()";
    page.wait_for(&format!("{top}.includes('line')"));
    let before = page.eval(top);
    stream.write_all(numbered(1..=500).as_bytes()).unwrap();
    page.wait_for_text("#figure-received", "50,600 messages");
    page.wait_for_text("#dropped", "601 older rows");
    assert_eq!(page.eval(top), before);
}

#[test]
fn rows_are_found_by_their_kind_their_text_and_their_bytes() {
    let Some((_server, mut page)) = connected() else { return };
    for text in ["needle in a haystack", "hay"] {
        say(&mut page, text);
        page.wait_for_text(LATEST, &text.to_uppercase());
    }
    page.click("label[for=mode-hex]");
    say(&mut page, "de ad be ef");
    page.wait_for_text(LATEST, "de ad be ef");
    fill(&mut page, "#search", "NEEDLE");
    page.wait_for_text("#row-count", "1 of 4 rows");
    page.wait_for_text(LATEST, "NEEDLE IN A HAYSTACK");
    fill(&mut page, "#search", "ad be");
    page.wait_for_text("#row-count", "1 of 4 rows");
    page.wait_for_text(LATEST, "de ad be ef");
    fill(&mut page, "#search", "nowhere");
    page.wait_for_text(".view", "No matching rows.");
    page.eval("document.querySelector('#search').select()");
    page.press("Delete");
    page.wait_for_text("#row-count", "4 rows");
    choose(&mut page, "#show", "3");
    page.wait_for_text("#row-count", "1 of 4 rows");
    assert_eq!(count(&mut page, ".rows .note"), 1);
}

#[test]
fn an_opened_row_shows_both_sides_with_what_changed_marked() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff");
    page.wait_for_text(LATEST, "00 41 ff");
    page.click(".message");
    page.wait_for_text(".summary", "differs in 1 of 3 bytes");
    assert_eq!(page.text(".both figure:last-child mark"), "41\nA");
    page.click("#edit-row");
    page.wait_for("document.querySelector('#message').value === '00 61 ff'");
    page.click("#close-detail");
    page.wait_for("document.querySelector('#detail').hidden");
}

#[test]
fn a_pinned_row_is_found_again() {
    let Some((_server, mut page)) = connected() else { return };
    for text in ["a", "b", "c"] {
        say(&mut page, text);
        page.wait_for_text(LATEST, &text.to_uppercase());
    }
    page.click(".message");
    page.wait_for_text("#detail", "Pin");
    page.click("#pin");
    page.wait_for_text("#pin", "Unpin");
    choose(&mut page, "#show", "4");
    page.wait_for_text("#row-count", "1 of 4 rows");
    page.wait_for_text(LATEST, "A");
    page.click("#pin");
    page.wait_for_text("#row-count", "0 of 4 rows");
}

#[test]
fn a_row_is_copied() {
    let Some((_server, mut page)) = connected() else { return };
    page.allow_clipboard();
    say(&mut page, "keep this");
    page.wait_for_text(LATEST, "KEEP THIS");
    page.click(".message");
    page.wait_for_text("#copy", "Copy");
    page.click("#copy");
    page.wait_for_text("#transcript-note", "Copied");
    assert_eq!(page.eval("navigator.clipboard.readText()"), "keep this\nKEEP THIS");
}

#[test]
fn a_transcript_is_kept_as_json_lines_and_loaded_again() {
    let Some((_server, mut page)) = connected() else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    say(&mut page, "keep, 世界");
    page.wait_for_text(LATEST, "KEEP, 世界");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    page.click("#export");
    let file = page.downloaded(folder.path());
    let kept = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<serde_json::Value> =
        kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1]["sent"]["text"], "keep, 世界");
    assert_eq!(rows[1]["received"]["text"], "KEEP, 世界");
    assert_eq!(rows[2]["closed"]["code"], 1000);

    page.pick_file("#load", &file);
    page.wait_for_text("#state-headline", "From a file");
    page.wait_for_text(".rows .message .received", "KEEP, 世界");
    assert_eq!(count(&mut page, ".connections li"), 2);
    let other = folder.path().join("other.txt");
    std::fs::write(&other, "no JSON").unwrap();
    page.pick_file("#load", &other);
    page.wait_for_text("#transcript-note", "other.txt is not an echogate transcript (line 1).");
}
