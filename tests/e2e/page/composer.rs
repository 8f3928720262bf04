//! The composer: text, hex, files, repeats and history.

use std::io::Write as _;

use echogate_tests::{browser::Scheme, tcp};

use super::{
    LATEST, choose, connected, connected_to_upstream, count, fill, page, say, times::file,
};

#[test]
fn what_is_typed_comes_back_in_upper_case() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello, 世界 ß");
    page.wait_for_text(LATEST, "HELLO, 世界 ß");
    let row = page.text(".rows");
    for part in ["hello, 世界 ß", "text", "16 B", "+"] {
        assert!(row.contains(part), "{part:?} in {row:?}");
    }
    assert_eq!(page.eval("document.querySelector('#message').value"), "", "ready for the next");
    page.wait_for_text("#announcer", "HELLO, 世界 ß");
}

#[test]
fn bytes_typed_as_hex_come_back_as_bytes() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff");
    page.wait_for_text(LATEST, "00 41 ff");
    assert!(page.text(".message").contains("binary"));
}

#[test]
fn bad_hex_is_named_as_it_is_typed_and_is_not_sent() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    say(&mut page, "00 6g");
    page.wait_for_text("#composer-problem", "'g' at character 5 is not a hexadecimal digit");
    assert_eq!(page.eval("document.querySelector('#message').ariaInvalid"), "true");
    assert_eq!(count(&mut page, ".message"), 0);
}

#[test]
fn an_empty_message_is_sent_if_it_was_chosen_and_comes_back_empty() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.press("Enter");
    assert_eq!(page.eval("document.querySelector('#send').ariaDisabled"), "true");
    choose(&mut page, "#template", "empty");
    page.click("#send");
    page.wait_for_text(LATEST, "(empty)");
    assert_eq!(count(&mut page, ".message"), 2);
}

#[test]
fn shift_and_enter_begin_a_new_line() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("a");
    page.press("Shift+Enter");
    page.type_text("b");
    page.press("Enter");
    page.wait_for_text(LATEST, "A\\nB");
}

#[test]
fn the_arrow_keys_bring_back_what_was_sent() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "first");
    page.wait_for_text(LATEST, "FIRST");
    page.click("label[for=mode-hex]");
    say(&mut page, "61");
    page.wait_for_text(LATEST, "A");
    page.click("label[for=mode-text]");
    page.click("#message");
    page.type_text("half");
    page.press("ArrowUp");
    page.wait_for("document.querySelector('#message').value === '61'");
    assert_eq!(page.eval("document.querySelector('#mode-hex').checked"), true);
    page.press("ArrowUp");
    page.wait_for("document.querySelector('#message').value === 'first'");
    page.press("ArrowDown");
    page.press("ArrowDown");
    page.wait_for("document.querySelector('#message').value === 'half'");
}

#[test]
fn templates_are_sent_as_they_are() {
    let Some((_server, mut page)) = connected() else { return };
    for (template, size) in [("large", "64.0 KiB"), ("invalid", "11 B"), ("emoji", "B")] {
        choose(&mut page, "#template", template);
        page.wait_for("document.querySelector('#message').value.length > 9");
        page.click("#send");
        page.wait_for_text(".rows > .received:last-child .reply", "s");
        page.wait_for_text(".rows > .received:last-child .size", size);
    }
}

#[test]
fn the_time_is_refreshed_with_each_send() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    choose(&mut page, "#template", "time");
    page.wait_for_text("#composer-problem", "refreshed with each send");
    fill(&mut page, "#interval", "400");
    page.click("#repeat");
    let lines: Vec<u64> = (0..4)
        .map(|_| String::from_utf8(tcp::read_exactly(&mut stream, 11)).unwrap())
        .map(|line| line.trim_end().parse().unwrap())
        .collect();
    assert!(lines[0] > 1_500_000_000 && lines[3] > lines[0], "{lines:?}");
    page.wait_for_text("#repeat", "Stop");
    page.click("#repeat");
    page.wait_for_text("#repeat", "Repeat");
}

#[test]
fn a_burst_is_answered_message_for_message() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("again");
    fill(&mut page, "#burst", "500");
    page.click("#burst-send");
    page.wait_for_text("#figure-received", "500 messages");
    page.wait_for_text("#figure-sent", "500 messages");
    assert_eq!(page.text("#composer-problem"), "");
    fill(&mut page, "#burst", "0");
    page.click("#burst-send");
    page.wait_for_text("#composer-problem", "Enter a number from 1 to 1,000.");
    assert_eq!(page.eval("document.querySelector('#burst').ariaLabel"), "Burst messages");
    assert_eq!(page.eval("document.querySelector('#interval').ariaLabel"), "Repeat every ms");
}

#[test]
fn a_file_is_sent_in_pieces_that_are_no_rows_and_its_echo_compared_byte_by_byte() {
    let Some((_server, mut page)) = connected() else { return };
    let (_folder, path) = file(3 << 20);
    page.click("label[for=mode-file]");
    page.pick_file("#file", &path);
    page.wait_for_text("#file-name", "file.bin · 3.0 MiB");
    assert_eq!(page.eval("document.querySelector('#expect').value"), "0", "the route is known");
    page.click("#file-start");
    page.wait_for_text("#file-status", "3.0 MiB echoed, every byte matches");
    assert_eq!(page.eval("document.querySelector('.progress').ariaValueNow"), "100");
    page.wait_for_text("#file-status", "/s");
    page.wait_for_text("#figure-sent", "48 messages · 3.0 MiB");
    page.wait_for_text("#figure-received", "3.0 MiB");
    assert_eq!(count(&mut page, ".message"), 0);
    choose(&mut page, "#expect", "1");
    page.click("#file-start");
    page.wait_for_text("#file-status", "byte 97 came back as 41 where 61 was expected");
}

#[test]
fn a_file_can_be_dropped_and_its_sending_stopped() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    page.eval(
        "(() => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(9 << 20)], 'dropped.bin'));
            for (const kind of ['dragover', 'drop'])
                document.querySelector('#transcript').dispatchEvent(new DragEvent(kind,
                    { dataTransfer: data, bubbles: true, cancelable: true })); })()",
    );
    page.wait_for_text("#file-name", "dropped.bin · 9.0 MiB");
    choose(&mut page, "#expect", "1");
    page.click("#file-start");
    let piece = tcp::read_exactly(&mut stream, 64 << 10);
    stream.write_all(&piece).unwrap();
    page.wait_for_text("#file-status", "64.0 KiB of 9.0 MiB");
    page.click("#file-start");
    page.wait_for_text("#file-status", "dropped.bin: stopped after 64.0 KiB");
}

#[test]
fn a_file_that_is_dropped_beside_the_transcript_does_not_replace_the_page() {
    let Some((_server, mut page)) = connected() else { return };
    let prevented = page.eval(
        "['dragover', 'drop'].map((kind) => {
            const data = new DataTransfer();
            data.items.add(new File(['x'], 'dropped.bin'));
            const event = new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
            document.querySelector('#clients').dispatchEvent(event);
            return event.defaultPrevented; })",
    );
    assert_eq!(prevented, serde_json::json!([true, true]));
}

#[test]
fn a_request_is_typed_with_its_line_endings() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    choose(&mut page, "#line-ending", "CR LF");
    page.click("#message");
    page.type_text("GET / HTTP/1.1");
    page.press("Shift+Enter");
    page.type_text("Host: h");
    page.wait_for_text("#composer-size", "25 bytes, text, CR LF");
    page.press("Enter");
    assert_eq!(tcp::read_exactly(&mut stream, 25), b"GET / HTTP/1.1\r\nHost: h\r\n");
    choose(&mut page, "#line-ending", "");
    page.click("#escapes");
    say(&mut page, r"a\0\x41");
    assert_eq!(tcp::read_exactly(&mut stream, 3), b"a\0A");
    page.click("#message");
    page.type_text(r"b\q");
    page.wait_for_text("#composer-problem", "The backslash at character 2");
}

#[test]
fn json_is_checked_as_it_is_typed() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("{\"a\":[1,]}");
    page.wait_for_text("#composer-size", "not JSON from character 9 on");
    page.eval("document.querySelector('#message').select()");
    page.type_text("{\"a\":[1]}");
    page.wait_for_text("#composer-size", "valid JSON");
}

#[test]
fn a_repetition_keeps_its_message_and_can_be_stopped_in_any_mode() {
    let Some((_server, mut page)) = connected() else { return };
    fill(&mut page, "#interval", "20");
    page.click("#message");
    page.type_text("steady");
    page.click("#repeat");
    page.wait_for_text(LATEST, "STEADY");
    page.click("#message");
    page.type_text(" and changed");
    page.wait_for("document.querySelectorAll('.rows .received').length > 5");
    assert!(!page.text(".rows").contains("CHANGED"));
    page.click("label[for=mode-file]");
    page.wait_for_text("#repeat", "Stop");
    page.click("#repeat");
    page.wait_for("document.querySelector('#repeat').dataset.pressed === 'false'");
}

#[test]
fn bytes_that_are_no_text_stay_hexadecimal() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    page.click("#message");
    page.type_text("ff fe 00");
    page.click("label[for=mode-text]");
    page.wait_for_text("#composer-problem", "These bytes are not UTF-8");
    assert_eq!(page.eval("document.querySelector('#mode-hex').checked"), true);
    assert_eq!(page.eval("document.querySelector('#message').value"), "ff fe 00");
}

#[test]
fn a_message_of_a_megabyte_is_recalled_and_what_is_not_stored_is_said() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.eval(
        "(() => { const field = document.querySelector('#message'); field.value = 'x'.repeat(1e6);
            field.dispatchEvent(new Event('input', { bubbles: true })); })()",
    );
    page.press("Enter");
    page.wait_for_text("#transcript-note", "Messages longer than 4,096 B are not stored");
    page.wait_for("document.querySelector('#message').value === ''");
    page.press("ArrowUp");
    page.wait_for("document.querySelector('#message').value.length === 1e6");
}

#[test]
fn a_saved_message_that_is_not_stored_is_said_and_asked_about_before_a_reload() {
    let Some((_server, mut page)) = page() else { return };
    fill(&mut page, "#message", &"x".repeat(4097));
    page.click("#save-message");
    page.wait_for_text("#transcript-note", "Messages longer than 4,096 B are not stored");
    // The field has a draft that is stored: only the saved message would be lost.
    fill(&mut page, "#message", "short");
    page.click("#save-message");
    page.wait_for_text("#template option:last-child", "short");
    assert!(page.begin_reload(), "the saved message would be lost");
    page.answer(false);
}

#[test]
fn the_transcript_keeps_its_height_in_every_mode() {
    let Some((_server, mut page)) = connected() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.txt");
    std::fs::write(&path, "hello").unwrap();
    let height = "document.querySelector('#transcript-panel').getBoundingClientRect().height";
    let before = page.eval(height);
    // The radio button is checked before the composer is drawn.
    let is_drawn = [
        ("hex", "document.querySelector('#message').placeholder.startsWith('Type bytes')"),
        ("file", "document.querySelector('.below').offsetHeight === 0"),
    ];
    for (mode, is_drawn) in is_drawn {
        page.click(&format!("label[for=mode-{mode}]"));
        page.wait_for(is_drawn);
        page.wait_for(&format!("{height} === {before}"));
    }
    page.pick_file("#file", &path);
    page.wait_for_text("#file-name", "small.txt");
    page.wait_for(&format!("{height} === {before}"));
    page.click("#file-start");
    page.wait_for_text("#file-status", "every byte matches");
    page.wait_for(&format!("{height} === {before}"));
    page.set_viewport(1280, 720, Scheme::Light);
    page.wait_for("innerWidth === 1280");
    page.click("label[for=mode-hex]");
    page.wait_for("document.querySelector('.below').offsetHeight > 0");
    let before = page.eval(height);
    say(&mut page, "00 6g");
    page.wait_for_text("#composer-problem", "is not a hexadecimal digit");
    page.wait_for(&format!("{height} === {before}"));
}
