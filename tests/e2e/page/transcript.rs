//! Tens of thousands of rows, search, pins, export and import.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use echogate_tests::browser::Scheme;
use serde_json::json;

use super::{LATEST, choose, connected, connected_to_upstream, count, fill, page, say};
use crate::ECHOGATE;

fn numbered(range: std::ops::RangeInclusive<u32>) -> String {
    range.fold(String::new(), |mut lines, n| {
        writeln!(lines, "line {n}").unwrap();
        lines
    })
}

#[test]
fn of_tens_of_thousands_of_rows_few_are_drawn_and_dropped_ones_are_counted() {
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
fn a_list_that_is_scrolled_to_older_rows_stays_there_while_rows_come() {
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
    page.wait_for_text("#row-count", "2 of 7 rows");
    page.wait_for_text(LATEST, "NEEDLE IN A HAYSTACK");
    assert_eq!(page.text(".rows .received mark"), "NEEDLE");
    fill(&mut page, "#search", "ad be");
    page.wait_for_text("#row-count", "2 of 7 rows");
    page.wait_for_text(LATEST, "de ad be ef");
    fill(&mut page, "#search", "6e 65 65");
    page.wait_for_text("#row-count", "1 of 7 rows");
    page.wait_for_text(".rows .sent .payload", "needle");
    fill(&mut page, "#search", "Connected to");
    page.wait_for_text(".rows mark", "Connected to");
    page.wait_for_text("#row-count", "1 of 7 rows");
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#row-count", "0");
    choose(&mut page, "#language", "en");
    page.wait_for_text("#row-count", "1 of 7 rows");
    fill(&mut page, "#search", "nowhere");
    page.wait_for_text(".view", "No matching rows.");
    page.eval("document.querySelector('#search').select()");
    page.press("Delete");
    page.wait_for_text("#row-count", "7 rows");
    choose(&mut page, "#show", "3");
    page.wait_for_text("#row-count", "1 of 7 rows");
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
    page.wait_for("document.querySelector('.rows .sent').ariaDescription === 'pinned'");
    choose(&mut page, "#show", "4");
    page.wait_for_text("#row-count", "1 of 7 rows");
    page.wait_for_text(".rows > .sent .payload", "a");
    page.click("#pin");
    page.wait_for_text("#row-count", "0 of 7 rows");
}

#[test]
fn a_row_is_copied() {
    let Some((_server, mut page)) = connected() else { return };
    page.allow_clipboard();
    say(&mut page, "keep this");
    page.wait_for_text(LATEST, "KEEP THIS");
    page.click(".message");
    for (form, copied) in [
        ("#copy-text", "keep this"),
        ("#copy-base64", "a2VlcCB0aGlz"),
        ("#copy-python", "b\"keep this\""),
    ] {
        page.wait_for_text("#copy", "Copy");
        page.click("#copy");
        page.click(form);
        page.wait_for_text("#transcript-note", "Copied");
        let clipboard = "navigator.clipboard.readText()";
        page.wait_for(&format!("{clipboard}.then((text) => text === '{copied}')"));
    }
}

#[test]
fn a_transcript_is_exported_as_json_lines_and_imported_again() {
    let Some((_server, mut page)) = connected() else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    say(&mut page, "keep, 世界");
    page.wait_for_text(LATEST, "KEEP, 世界");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    page.click("#transcript-menu");
    page.click("#export-jsonl");
    let file = page.downloaded(folder.path());
    let kept = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<serde_json::Value> =
        kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[1]["direction"], "to-server");
    assert_eq!(rows[1]["text"], "keep, 世界");
    assert_eq!(rows[2]["text"], "KEEP, 世界");
    assert_eq!(rows[3]["code"], 1000);

    page.pick_file("#load", &file);
    page.wait_for_text("#state-headline", "From a file");
    page.wait_for_text(".rows .received .payload", "KEEP, 世界");
    page.wait_for_text(".rows .received .reply", "s");
    page.wait_for_text("#figure-round-trip", "s");
    let date = page.eval("new Date().toISOString().slice(0, 4)");
    assert!(page.text(".rows .time").starts_with(date.as_str().unwrap()));
    assert_eq!(count(&mut page, ".connections li"), 2);
    let other = folder.path().join("other.txt");
    std::fs::write(&other, "no JSON").unwrap();
    page.pick_file("#load", &other);
    page.wait_for_text("#transcript-note", "other.txt is not an echogate transcript (line 1).");
}

#[test]
fn a_file_that_is_too_large_to_import_is_named_with_the_limit() {
    let Some((_server, mut page)) = page() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.jsonl");
    std::fs::File::create(&path).unwrap().set_len((256 << 20) + 1).unwrap();
    page.pick_file("#load", &path);
    let note = "long.jsonl was not imported: it is larger than 256.0 MiB.";
    page.wait_for_text("#transcript-note", note);
}

#[test]
fn both_forms_of_an_export_are_recordings_with_the_same_messages() {
    let Some((_server, mut page)) = connected() else { return };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    say(&mut page, "text \"quoted\"");
    page.wait_for_text(LATEST, "QUOTED");
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff");
    page.wait_for_text(LATEST, "00 41 ff");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    let files = [("#export-jsonl", folders[0].path()), ("#export-har", folders[1].path())];
    let files = files.map(|(form, folder)| {
        page.download_to(folder);
        page.click("#transcript-menu");
        page.click(form);
        page.downloaded(folder)
    });
    let output = Command::new(ECHOGATE).arg("compare").args(&files).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rows_of_a_busy_connection_are_in_the_order_of_their_times() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    let (stop, stopped) = mpsc::channel::<()>();
    let pushing = std::thread::spawn(move || {
        // The interval of the stream, which ends with the channel.
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            stream.write_all(b"tick\n").unwrap();
        }
        stream
    });
    fill(&mut page, "#message", "tock");
    fill(&mut page, "#interval", "10");
    page.click("#repeat");
    page.wait_for("parseInt(document.querySelector('#figure-sent').innerText) >= 300");
    page.click("#repeat");
    drop(stop);
    let _stream = pushing.join().unwrap();
    page.click("#transcript-menu");
    page.click("#export-jsonl");
    let kept = std::fs::read_to_string(page.downloaded(folder.path())).unwrap();
    let rows = kept.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let times: Vec<f64> = rows.map(|row| row["time"].as_f64().unwrap()).collect();
    assert!(times.len() > 600, "{}", times.len());
    let back = times.windows(2).filter(|two| two[1] < two[0]).count();
    assert_eq!(back, 0, "of {} rows", times.len());
}

#[test]
fn messages_of_an_unknown_server_are_rows_in_order_without_a_claim() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    stream.write_all(b"10001\n").unwrap();
    page.wait_for_text(LATEST, "10001");
    say(&mut page, "hello");
    page.wait_for_text(".rows .sent .payload", "hello");
    stream.write_all(b"10002\n").unwrap();
    page.wait_for_text(LATEST, "10002");
    let texts =
        "[...document.querySelectorAll('.rows .payload')].slice(1).map((it) => it.innerText)";
    assert_eq!(page.eval(texts), json!(["10001", "hello", "10002"]));
    let replies =
        "[...document.querySelectorAll('.rows .reply')].map((it) => it.innerText).join('')";
    assert_eq!(page.eval(replies), "");
    assert_eq!(page.text("#figure-round-trip"), "–");
    choose(&mut page, "#show", "2");
    page.wait_for_text("#row-count", "2 of 4 rows");

    choose(&mut page, "#show", "0");
    choose(&mut page, "#pairing", "length");
    page.wait_for_text(".rows .received:last-child .reply", "s");
    page.wait_for_text("#figure-round-trip", "s");
    choose(&mut page, "#pairing", "none");
    page.wait_for_text("#figure-round-trip", "–");
}

#[test]
fn replies_in_json_are_paired_by_a_member() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    choose(&mut page, "#pairing", "field");
    for id in [1, 2] {
        say(&mut page, &format!("{{\"id\":{id},\"method\":\"get\"}}"));
    }
    page.wait_for("document.querySelectorAll('.rows .sent').length === 2");
    let replies = "{\"tick\":1}\n{\"result\":[\"a\u{202e}b\"],\"id\":2}\n";
    stream.write_all(replies.as_bytes()).unwrap();
    page.wait_for_text(".rows .received:last-child .reply", "s");
    assert_eq!(page.text(".rows .sent .reply").trim(), "no reply yet");
    page.click(".rows .received:last-child");
    page.wait_for_text("#detail .json", "\"method\"");
    page.wait_for_text("#detail figure:last-child .json", r"a\u{202e}b");
    page.wait_for("document.querySelector('[data-partner=true] .payload').innerText.includes('2')");
    page.click("#view-text");
    page.wait_for_text("#detail figure:last-child .text", "\"result\"");
    assert_eq!(
        count(&mut page, "#detail .summary, #detail mark"),
        0,
        "another message has no differences"
    );
    choose(&mut page, "#pairing", "order");
    page.wait_for_text("#detail .summary", "The reply differs in");
    page.wait_for("document.querySelector('#detail mark')");
    choose(&mut page, "#pairing", "field");
    page.wait_for("!document.querySelector('#detail .summary')");
    fill(&mut page, "#pairing-field", "sequence");
    page.wait_for_text("#figure-round-trip", "–");
    page.press("Tab");
}

#[test]
fn text_in_binary_messages_is_shown_and_found() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    stream.write_all("HTTP/1.1 200 OK\r\n\r\nhé".as_bytes()).unwrap();
    page.wait_for_text(LATEST, "HTTP/1.1 200 OK\\r\\n\\r\\nhé");
    stream.write_all(b"\xffhello\0").unwrap();
    page.wait_for_text(LATEST, "ff 68 65 6c 6c 6f 00");
    fill(&mut page, "#search", "hello");
    page.wait_for_text("#row-count", "1 of 3 rows");
    page.click("#pattern");
    fill(&mut page, "#search", "http/\\d\\.\\d (2..)");
    page.wait_for_text("#row-count", "1 of 3 rows");
    page.wait_for_text(".rows mark", "HTTP/1.1 200");
    fill(&mut page, "#search", "(");
    page.wait_for_text("#search-problem", "Invalid regular expression");
}

#[test]
fn control_and_invisible_characters_are_escapes_in_a_style_of_their_own() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("text") else { return };
    stream
        .write_all("GET \\r\r\n\tnext\0\x1b[1m\u{202e}abc\u{200b}\u{2028}👩\u{200d}🚀".as_bytes())
        .unwrap();
    page.wait_for_text(LATEST, r"GET \r\r\n\tnext\x00\x1b[1m\u{202e}abc\u{200b}\u{2028}👩");
    let escapes = page.text(&format!("{LATEST} .escape"));
    assert_eq!(
        escapes, "\\r\\n\\t\n\\x00\\x1b\n\\u{202e}\n\\u{200b}\\u{2028}",
        "typed ones are text"
    );
    page.click(".rows .received");
    page.wait_for_text("#detail .text", "GET \\r\\r\n\tnext\\x00\\x1b[1m\\u{202e}abc");
    fill(&mut page, "#search", "\\r");
    page.wait_for_text(".rows mark", "\\r");
    assert_eq!(count(&mut page, ".rows mark"), 1, "an escape is no text");
}

#[test]
fn a_row_of_a_list_that_is_scrolled_stays_in_view_when_it_is_opened() {
    for (width, height) in [(1440, 900), (1280, 720), (390, 844)] {
        let Some((_server, mut page)) = connected() else { return };
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        page.click("#message");
        page.type_text(&"long ".repeat(600));
        fill(&mut page, "#burst", "30");
        page.click("#burst-send");
        page.wait_for("document.querySelector('#row-count').innerText === '61 rows'");
        page.eval("document.querySelector('#transcript').scrollTop = 400");
        page.wait_for("!document.querySelector('#to-end').hidden");
        page.eval("document.querySelector('#transcript').scrollIntoView({ block: 'nearest' })");
        // The last row that is visible as a whole.
        let row = page.eval(
            "(() => {
                const end = document.querySelector('#transcript').getBoundingClientRect().bottom;
                const rows = [...document.querySelectorAll('.rows > .message')];
                return rows.findLast((it) => it.getBoundingClientRect().bottom <= end).id;
            })()",
        );
        let row = row.as_str().unwrap();
        page.click(&format!("#{row} .time"));
        page.wait_for(&format!(
            "(() => {{
                const list = document.querySelector('#transcript').getBoundingClientRect();
                const box = document.querySelector('#{row}')?.getBoundingClientRect();
                const detail = document.querySelector('#detail').getBoundingClientRect();
                return detail.height > 100 && list.bottom <= detail.top + 1 &&
                    box?.top >= list.top && box?.bottom <= list.bottom + 1;
            }})()"
        ));
    }
}

#[test]
fn a_message_is_read_in_full_and_saved() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    let long = "0123456789".repeat(6000);
    stream.write_all(format!("{long}end\n").as_bytes()).unwrap();
    page.wait_for_text(LATEST, "0123456789");
    page.click(".rows .received");
    page.wait_for_text("#detail", "The first 19.5 KiB of 58.6 KiB.");
    page.click("#detail [data-action=show-in-full]");
    page.wait_for("document.querySelector('#detail .text').innerText.endsWith('9end')");
    page.click("#view-hex");
    page.wait_for_text("#detail .hexdump", "30 31 32 33");
    page.click("#save");
    let saved = std::fs::read_to_string(page.downloaded(folder.path())).unwrap();
    assert_eq!(saved, format!("{long}end"));
    page.press("Escape");
    page.wait_for("document.querySelector('#detail').hidden");
    assert_eq!(page.eval("document.activeElement.id"), "transcript");
}

#[test]
fn a_cleared_transcript_comes_back_with_its_pins() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "one");
    page.wait_for_text(LATEST, "ONE");
    page.click(".rows .sent");
    page.click("#pin");
    page.wait_for("document.querySelector('.rows [data-pinned=true]')");
    page.click("#transcript-menu");
    page.click("#clear");
    page.wait_for_text("#cleared", "Cleared.");
    page.wait_for("document.querySelectorAll('.rows .line').length === 0");
    say(&mut page, "two");
    page.wait_for_text(LATEST, "TWO");
    page.click("#undo-clear");
    page.wait_for("document.querySelectorAll('.rows .message').length === 4");
    assert_eq!(count(&mut page, ".rows [data-pinned=true]"), 1);
    page.wait_for("document.querySelector('#cleared').hidden");
}

#[test]
fn text_is_selected_in_a_row_and_stays_selected_while_rows_come() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    for n in 0..100 {
        writeln!(stream, "select this text {n}").unwrap();
    }
    page.wait_for_text("#row-count", "101 rows");
    page.wait_for_text(LATEST, "select this text 99");
    // The row of the beginning, 100 messages, and the heading.
    page.wait_for("document.querySelector('.rows > .line:last-child').ariaRowIndex === '102'");
    page.eval(
        "(async () => {
            const list = document.querySelector('#transcript');
            for (let top; top !== list.scrollTop;) {
                top = list.scrollTop;
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
            }
        })()",
    );
    let row = ".rows > .received:last-child .payload";
    page.eval(&format!("document.querySelector('{row}').id = 'selected'"));
    page.press_mouse("#selected", 0.001);
    page.move_mouse("#selected", 0.1, true);
    page.move_mouse("#selected", 0.2, true);
    page.release_mouse("#selected", 0.2);
    let selected = page.eval("getSelection().toString()");
    assert!(selected.as_str().unwrap().starts_with("select"), "{selected}");
    for n in 100..200 {
        writeln!(stream, "select this text {n}").unwrap();
    }
    page.wait_for_text("#row-count", "201 rows");
    assert_eq!(page.eval("getSelection().toString()"), selected);
    assert_eq!(count(&mut page, ".detail:not([hidden])"), 0, "no row was opened");
}

#[test]
fn a_paused_list_that_does_not_fill_its_view_gets_no_more_rows() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    stream.write_all(b"one\ntwo\n").unwrap();
    page.wait_for_text(LATEST, "two");
    page.click("#pause");
    page.wait_for("document.querySelector('#pause').ariaPressed === 'true'");
    stream.write_all(b"three\nfour\nfive\n").unwrap();
    page.wait_for_text("#row-count", "6 rows");
    let texts =
        "[...document.querySelectorAll('.rows .received .payload')].map((it) => it.innerText)";
    assert_eq!(page.eval(texts), json!(["one", "two"]));
    page.eval("document.querySelector('#transcript').focus()");
    for _ in 0..4 {
        page.press("ArrowDown");
    }
    page.wait_for_text(".rows [aria-selected=true] .payload", "three");
    assert_eq!(page.eval(texts), json!(["one", "two", "three"]));
    page.click("#to-end");
    page.wait_for_text(LATEST, "five");
    fill(&mut page, "#search", "o");
    page.wait_for_text("#row-count", "4 of 6 rows");
    page.wait_for_text(LATEST, "four");
    page.click("#pause");
    stream.write_all(b"six\nno\n").unwrap();
    page.wait_for_text("#row-count", "5 of 8 rows");
    page.wait_for_text(LATEST, "four");
    page.click("#pause");
    page.wait_for_text(LATEST, "no");
}

/// Whether the list has a height and is filled with rows.
const LIST_IS_FILLED: &str = "(() => {
    const list = document.querySelector('#transcript').getBoundingClientRect();
    const seen = [...document.querySelectorAll('.rows > .line')]
        .map((row) => row.getBoundingClientRect())
        .filter((row) => row.bottom > list.top && row.top < list.bottom);
    const height = seen[0]?.height ?? 32;
    return list.height > 0 && seen.length >= Math.floor((list.height - 30) / height) - 1;
})()";

#[test]
fn older_rows_are_there_in_the_first_frames_after_the_chat_desk() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    for n in 0..300 {
        writeln!(stream, "{n}").unwrap();
    }
    page.wait_for_text(LATEST, "299");
    page.eval("document.querySelector('#transcript').scrollTop = 2000");
    page.wait_for("!document.querySelector('#to-end').hidden");
    page.eval("location.hash = 'operator'");
    page.wait_for("document.querySelector('#workbench').hidden");
    let frames = format!(
        "(async () => {{
            location.hash = '';
            for (let frame = 0; frame < 6; frame++) await new Promise(requestAnimationFrame);
            return {LIST_IS_FILLED};
        }})()"
    );
    assert_eq!(page.eval(&frames), true);
    assert_eq!(page.eval("document.querySelector('#transcript').scrollTop"), 2000);
}
