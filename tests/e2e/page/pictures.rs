//! Screenshots of the page's main states: `ECHOGATE_PICTURES=FOLDER cargo test pictures --
//! --ignored` writes them to a folder. Those in `web/screenshots` come from here.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use echogate_tests::browser::{Page, Scheme};

use super::{LATEST, chat, choose, fill, layout, open, page, say, states};

/// The folder of the pictures.
fn folder() -> PathBuf {
    let folder = std::env::var_os("ECHOGATE_PICTURES").expect("ECHOGATE_PICTURES names a folder");
    folder.into()
}

fn shoot(page: &mut Page, folder: &Path, name: &str, size: (u32, u32), scheme: Scheme) {
    page.set_viewport(size.0, size.1, scheme);
    page.wait_for(&format!("innerWidth === {}", size.0));
    page.screenshot(&folder.join(name).with_extension("png"));
}

/// A wide window in both schemes, and a phone.
fn shoot_all(page: &mut Page, folder: &Path, [light, dark, phone]: [&str; 3]) {
    shoot(page, folder, light, (1440, 900), Scheme::Light);
    shoot(page, folder, dark, (1440, 900), Scheme::Dark);
    shoot(page, folder, phone, (390, 844), Scheme::Light);
}

#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_the_main_states() {
    let folder = &folder();
    let Some((mut server, mut page)) = page() else { return };
    let wide = (1440, 900);
    shoot_all(&mut page, folder, ["before-light", "before-dark", "before-phone"]);
    page.set_viewport(1440, 900, Scheme::Light);

    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    page.click("#message");
    page.type_text("GET / HTTP/1.1");
    fill(&mut page, "#burst", "200");
    page.click("#burst-send");
    page.wait_for_text("#figure-received", "200 messages");
    for (text, reply) in [
        ("hello, 世界 ß", "HELLO, 世界 ß"),
        ("", "(empty)"),
        ("GET / HTTP/1.1\nHost: example.net", "HOST"),
    ] {
        page.eval("document.querySelector('#message').select()");
        if text.is_empty() {
            page.press("Delete");
        } else {
            page.type_text(text);
        }
        page.click("#send");
        page.wait_for_text(LATEST, reply);
    }
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff 7a 2d 68 65 78");
    page.wait_for_text(LATEST, "00 41 ff");
    let mut client = TcpStream::connect(server.address("upper")).unwrap();
    client.write_all(b"hello by nc\n").unwrap();
    page.click("#add");
    page.wait_for_text("#state-headline", "Not connected");
    fill(&mut page, "#endpoint", "/ws/echo");
    page.press("Enter");
    page.wait_for_text("#state-headline", "Connected");
    page.click(".connections li:first-child button");
    page.wait_for_text(LATEST, "00 41 ff");
    page.click(".message:last-child");
    page.wait_for("document.querySelector('.hexdump')");
    page.click("label[for=mode-text]");
    page.click("#message");
    page.type_text("One more, to be sent");
    page.wait_for_text(".client .in", "↑");
    for (name, size, scheme) in [
        ("wide-light", wide, Scheme::Light),
        ("wide-dark", wide, Scheme::Dark),
        ("tablet-light", (768, 1800), Scheme::Light),
        ("tablet-dark", (768, 1800), Scheme::Dark),
        ("phone-light", (390, 2600), Scheme::Light),
        ("phone-dark", (390, 2600), Scheme::Dark),
        ("tiny", (320, 2800), Scheme::Light),
        ("workbench", wide, Scheme::Light),
        ("dark", wide, Scheme::Dark),
    ] {
        shoot(&mut page, folder, name, size, scheme);
    }
    page.set_viewport(390, 844, Scheme::Light);
    page.wait_for("innerWidth === 390");
    page.eval("document.querySelector('.main-column').scrollIntoView()");
    page.screenshot(&folder.join("phone.png"));
    page.set_viewport(1440, 900, Scheme::Light);
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#state-headline", "已连接");
    shoot(&mut page, folder, "chinese", wide, Scheme::Light);
    choose(&mut page, "#language", "en");
    page.click("label[for=mode-file]");
    shoot(&mut page, folder, "file", wide, Scheme::Light);
    page.expect_connection_errors();
    server.signal("TERM");
    page.wait_for_text("#state-headline", "Closed by the server");
    shoot(&mut page, folder, "closed", wide, Scheme::Light);
    shoot(&mut page, folder, "closed-dark", wide, Scheme::Dark);
    server.signal("KILL");
    server.wait();
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Could not connect");
    shoot(&mut page, folder, "refused", wide, Scheme::Light);
}

#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_followed_clients() {
    let folder = &folder();
    let Some((server, mut page)) = page() else { return };
    let address = server.address("upper").replace(':', " ");
    let mut nc = Command::new("nc")
        .args(address.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc is installed");
    let mut terminal = format!("$ nc {address}\n");
    page.wait_for("document.querySelector('.client')");
    page.click(".client button");
    page.wait_for_text("#state-headline", "Following");
    let mut printed = BufReader::new(nc.stdout.take().unwrap());
    for line in ["hello from nc", "GET / HTTP/1.1", "Grüße, 世界"] {
        let typed = format!("{line}\n");
        terminal.push_str(&typed);
        nc.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        let start = terminal.len();
        printed.read_line(&mut terminal).unwrap();
        page.wait_for_text(LATEST, terminal[start..].trim_end());
    }
    shoot_all(&mut page, folder, ["stream-light", "stream-dark", "stream-phone"]);
    // From the URL bar, below the header, to the end of the transcript.
    let narrow = (1000, 884);
    page.set_viewport(narrow.0, narrow.1, Scheme::Light);
    page.wait_for("innerWidth === 1000");
    page.eval("scrollTo(0, 48)");
    shoot(&mut page, folder, "stream-narrow", narrow, Scheme::Light);
    nc.kill().unwrap();
    nc.wait().unwrap();
    let beside = format!(
        "<meta charset=utf-8><style>body {{ margin: 0; display: flex; background: #d9d7d0 }}
        pre {{ width: 22rem; margin: 24px; padding: 16px; border-radius: 10px; background: #16181d;
        color: #e6e6e6; font: 15px/1.6 'DejaVu Sans Mono', monospace }}
        img {{ width: 1000px; margin: 24px 24px 24px 0; border-radius: 10px }}</style>
        <pre>{terminal}█</pre><img src=stream-narrow.png>"
    );
    let file = folder.join("nc.html");
    std::fs::write(&file, beside).unwrap();
    let mut composed = Page::open(&format!("file://{}", file.display())).unwrap();
    composed.wait_for("document.images[0].complete");
    shoot(&mut composed, folder, "nc", (1440, 932), Scheme::Light);
    page.set_viewport(1440, 900, Scheme::Light);
    page.click(".connections li:first-child button");
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for_text("#ladder-list", "hello");
    page.click(".step:nth-child(5) summary");
    shoot_all(&mut page, folder, ["ladder-light", "ladder-dark", "ladder-phone"]);
}

#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_the_lesson() {
    let folder = &folder();
    let Some((_server, mut page)) = page() else { return };
    page.wait_for("!document.querySelector('#play-first').hidden");
    shoot(&mut page, folder, "lesson-0", (1440, 900), Scheme::Light);
    page.click("#play-first");
    for step in 1..=5 {
        page.wait_for_text("#lesson-title", &format!("Step {step} of"));
        page.wait_for_text("#lesson-state", "Done");
        let name = if step == 2 { "lesson".to_owned() } else { format!("lesson-{step}") };
        shoot(&mut page, folder, &name, (1440, 900), Scheme::Light);
        page.click("#lesson-next");
    }
    page.wait_for_text("#lesson-title", "Step 6 of");
    page.wait_for_text("#lesson-state", "Done");
    shoot(&mut page, folder, "lesson-6-dark", (1440, 900), Scheme::Dark);
    shoot(&mut page, folder, "lesson-6-phone", (390, 844), Scheme::Light);
    page.click("#lesson-back");
    shoot(&mut page, folder, "lesson-5-phone-dark", (390, 844), Scheme::Dark);
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for("document.documentElement.lang === 'zh-Hans'");
    shoot(&mut page, folder, "lesson-5-chinese", (1440, 900), Scheme::Light);
    page.click("#lesson-next");
    shoot(&mut page, folder, "lesson-6-chinese-phone", (390, 844), Scheme::Light);
}

#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_the_operators_view() {
    let folder = &folder();
    let server = chat::server();
    let Some(mut page) = open(&server, "/#operator") else { return };
    shoot(&mut page, folder, "operator-signed-out", (1440, 900), Scheme::Light);
    chat::sign_in(&mut page, chat::TOKEN);
    page.wait_for_text("#operator-status", "You are operator 1.");
    shoot(&mut page, folder, "operator-alone", (1440, 900), Scheme::Light);
    let mut clients: Vec<_> =
        (0..4).map(|_| TcpStream::connect(server.address("chat")).unwrap()).collect();
    for (client, text) in clients.iter_mut().zip(["hello?", "is this on?", "你好", "bye"]) {
        client.write_all(text.as_bytes()).unwrap();
        client.write_all(b"\n").unwrap();
        page.wait_for_text("#conversations", "waiting");
    }
    page.wait_for_text("#conversations", "The client ended the chat.");
    page.click(".conversations li:first-child button");
    page.wait_for_text("#chat-log .theirs", "hello?");
    fill(&mut page, "#answer", "Hello! What can I do for you?");
    page.press("Enter");
    page.wait_for_text("#chat-log .ours", "What can I do");
    clients[0]
        .write_all(
            "Which port is the time on, and what does it answer to a line that is no number?\n"
                .as_bytes(),
        )
        .unwrap();
    page.wait_for_text("#chat-log", "Which port");
    shoot_all(&mut page, folder, ["operator", "operator-dark", "operator-phone"]);
}

/// Pictures of every state: in all windows, both languages and both schemes.
#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_every_state() {
    let folder = &folder();
    let mut look = |page: &mut Page, state: &str, script: &str| {
        let schemes = [("light", Scheme::Light), ("dark", Scheme::Dark)];
        for language in ["zh-Hans", "en"] {
            states::set_language(page, language);
            for (size, (scheme_name, scheme)) in
                layout::SIZES.into_iter().flat_map(|size| schemes.map(|scheme| (size, scheme)))
            {
                page.set_viewport(size.0, size.1, scheme);
                page.wait_for(&format!("innerWidth === {}", size.0));
                page.eval(&format!("document.activeElement.blur(); {script};"));
                let state = state.replace([' ', ','], "-");
                let name = format!("{state} {language} {scheme_name} {}", size.0);
                shoot(page, folder, &name, size, scheme);
            }
        }
        page.set_viewport(1440, 900, Scheme::Light);
    };
    for tour in layout::TOURS {
        tour(&mut look);
    }
}
