//! Settings that survive a reload, links to the page, and messages as programs.

use std::{
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use echogate_tests::{
    browser::Page,
    program::{programs, python},
};

use super::{LATEST, choose, count, fill, open, page, say};
use crate::ECHOGATE;

fn value(page: &mut Page, id: &str) -> String {
    page.eval(&format!("document.getElementById('{id}').value")).as_str().unwrap().to_owned()
}

pub(super) fn reload(page: &mut Page) {
    page.reload();
    page.wait_for("document.querySelector('.card')");
}

#[test]
fn connections_history_and_saved_messages_survive_a_reload_until_they_are_forgotten() {
    let Some((_server, mut page)) = page() else { return };
    fill(&mut page, "#endpoint", "/ws/echo");
    fill(&mut page, "#protocol", "binary");
    choose(&mut page, "#line-ending", "CR LF");
    page.click("#escapes");
    say(&mut page, "once");
    page.wait_for_text(LATEST, "once");
    page.type_text("kept");
    page.click("#save-message");
    page.wait_for("document.querySelector('#template [data-saved]')");
    reload(&mut page);
    assert_eq!(value(&mut page, "endpoint"), "/ws/echo");
    assert_eq!(value(&mut page, "protocol"), "binary");
    assert_eq!(value(&mut page, "line-ending"), "CR LF");
    assert_eq!(page.eval("document.querySelector('#escapes').checked"), true);
    assert_eq!(count(&mut page, ".rows .message"), 0, "messages are not stored");
    page.click("#message");
    page.press("ArrowUp");
    page.wait_for("document.querySelector('#message').value === 'once'");
    choose(&mut page, "#template", "saved-0");
    page.wait_for("document.querySelector('#message').value === 'kept'");
    page.click("#transcript-menu");
    page.click("#forget");
    page.wait_for_text("#transcript-note", "were removed from this browser");
    page.wait_for("!document.querySelector('#template [data-saved]')");
}

#[test]
fn the_chosen_connection_is_chosen_after_a_reload() {
    let Some((_server, mut page)) = page() else { return };
    for endpoint in ["/ws/echo", "/ws/time"] {
        page.click("#add");
        fill(&mut page, "#endpoint", endpoint);
    }
    page.click(".connections li:nth-child(2) button");
    reload(&mut page);
    assert_eq!(value(&mut page, "endpoint"), "/ws/echo");
    assert_eq!(count(&mut page, ".connections li"), 3);
}

#[test]
fn a_link_carries_endpoint_subprotocol_and_message_and_waits_for_the_user() {
    let Some((server, mut page)) = page() else { return };
    page.allow_clipboard();
    fill(&mut page, "#endpoint", "/ws/echo");
    fill(&mut page, "#protocol", "binary");
    page.click("#message");
    page.type_text("a & b = 世界 #1");
    page.click("#share");
    page.click("#copy-link");
    page.wait_for_text("#transcript-note", "Copied");
    let link = page.eval("navigator.clipboard.readText()").as_str().unwrap().to_owned();
    let (_, fragment) = link.split_once('#').unwrap();
    let Some(mut page) = open(&server, &format!("/#{fragment}")) else { return };
    page.wait_for("document.querySelector('#message').value === 'a & b = 世界 #1'");
    assert_eq!(value(&mut page, "endpoint"), "/ws/echo");
    assert_eq!(value(&mut page, "protocol"), "binary");
    assert_eq!(page.text("#state-headline"), "Not connected");
    page.press("Enter");
    page.wait_for_text(LATEST, "a & b = 世界 #1");
}

/// The program that the page copies for its draft.
fn copied(page: &mut Page, name: &str) -> String {
    page.eval("navigator.clipboard.writeText('')");
    page.click("#share");
    let possible = format!("[data-argument='{name}'][aria-disabled='false']");
    page.wait_for(&format!("document.querySelector(`{possible}`)"));
    page.click(&possible);
    page.wait_for("navigator.clipboard.readText().then((text) => text !== '')");
    page.eval("navigator.clipboard.readText()").as_str().unwrap().to_owned()
}

/// The output of a shell command, with `echogate` on the path.
fn shell(command: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    symlink(ECHOGATE, folder.path().join("echogate")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args(["20", "sh", "-c", command])
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A page whose draft is this text or, as hexadecimal digits, these bytes.
fn drafted(mode: &str, draft: &str) -> Option<(echogate_tests::server::Server, Page)> {
    let (server, mut page) = page()?;
    page.allow_clipboard();
    page.click(&format!("label[for=mode-{mode}]"));
    page.click("#message");
    page.type_text(draft);
    Some((server, page))
}

const JAVASCRIPT: &str = "JavaScript (browser, Node 22)";
const QUOTES: &str = r#"it's 100% "\ 世界"#;
const UPPER: &str = r#"IT'S 100% "\ 世界"#;

#[test]
fn the_copied_nc_command_prints_the_reply() {
    if programs(["nc", "timeout"]).is_none() {
        return;
    }
    let Some((_server, mut page)) = drafted("text", QUOTES) else { return };
    assert_eq!(shell(&copied(&mut page, "nc")), UPPER.as_bytes());
}

#[test]
fn the_copied_echogate_command_prints_the_reply() {
    let Some((_server, mut page)) = drafted("text", QUOTES) else { return };
    let printed = shell(&copied(&mut page, "echogate connect"));
    assert_eq!(String::from_utf8(printed).unwrap().trim_end(), UPPER);
    let Some((_server, mut page)) = drafted("hex", "00 61 ff") else { return };
    assert_eq!(shell(&copied(&mut page, "echogate connect")), b"\0A\xff");
}

#[test]
fn the_copied_websocat_command_prints_the_reply() {
    if programs(["websocat", "timeout"]).is_none() {
        return;
    }
    let Some((_server, mut page)) = drafted("text", QUOTES) else { return };
    let printed = shell(&copied(&mut page, "websocat"));
    assert_eq!(String::from_utf8(printed).unwrap().trim_end(), UPPER);
    let Some((_server, mut page)) = drafted("hex", "00 61 ff") else { return };
    assert_eq!(shell(&copied(&mut page, "websocat")), b"\0A\xff");
}

#[test]
fn the_copied_python_program_prints_the_reply() {
    let Some(python) = python() else { return };
    let Some((_server, mut page)) = drafted("text", QUOTES) else { return };
    let program = copied(&mut page, "Python");
    let output = Command::new(python).args(["-c", &program]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), UPPER, "{program}");
}

#[test]
fn the_copied_javascript_prints_the_reply_in_a_browser() {
    let Some((_server, mut page)) = drafted("text", QUOTES) else { return };
    let program = copied(&mut page, JAVASCRIPT);
    let run = |program: &str| {
        format!(
            "(() => {{ window.printed = []; const console = {{ log: (it) => printed.push(it) }};
                {program} }})()"
        )
    };
    page.eval(&run(&program));
    page.wait_for("window.printed.length === 1");
    assert_eq!(page.eval("window.printed[0]"), UPPER);
    let Some((_server, mut page)) = drafted("hex", "00 61 ff") else { return };
    let program = copied(&mut page, JAVASCRIPT);
    page.eval(&run(&program));
    page.wait_for("window.printed.length === 1");
    assert_eq!(page.eval("[...window.printed[0]]"), serde_json::json!([0, 0x41, 0xff]));
}

#[test]
fn a_program_that_cannot_send_the_draft_says_why() {
    let Some((_server, mut page)) = drafted("text", "two") else { return };
    page.press("Shift+Enter");
    page.click("#share");
    let entry = ".menu [data-argument='echogate connect']";
    page.wait_for(&format!("document.querySelector(\"{entry}\").ariaDisabled === 'true'"));
    let title = page.eval(&format!("document.querySelector(\"{entry}\").title"));
    assert_eq!(title, "The program sends each line as a message.");
    let title = page.eval("document.querySelector('.menu [data-argument=nc]').title");
    assert_eq!(title, "", "a program that can");
}

#[test]
fn a_reload_asks_first_where_something_would_be_lost_and_only_there() {
    let Some((_server, mut page)) = page() else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    page.click("#message");
    assert!(!page.begin_reload(), "nothing has been done");
    page.wait_for_reload();
    page.click("#message");
    page.type_text("a draft");
    assert!(page.begin_reload(), "the draft would be lost");
    page.answer(false);
    page.press("Enter");
    page.wait_for_text(LATEST, "A DRAFT");
    assert!(page.begin_reload(), "the connection would be lost");
    page.answer(false);
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    assert!(page.begin_reload(), "the messages would be lost");
    page.answer(false);
    page.click("#transcript-menu");
    page.click("#export-jsonl");
    page.downloaded(folder.path());
    assert!(!page.begin_reload(), "the messages were exported, the settings are stored");
    page.wait_for_reload();
}
