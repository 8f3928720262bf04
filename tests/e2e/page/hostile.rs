//! Hostile and damaged input, and actions at unusual moments.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use echogate_tests::{browser::Page, server::Server, ws::RawWsServer};

use super::{
    LATEST, choose, connected, count, fill, keep::reload, open, page, page_at, say,
    stream::followed, wasm_memory,
};

fn focused(page: &mut Page) -> String {
    page.eval("document.activeElement.id").as_str().unwrap_or_default().to_owned()
}

/// A page whose server has an endpoint that accepts connections and never ends a handshake.
fn stalled() -> Option<(Server, Page, TcpListener)> {
    let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, mut page) = page()?;
    let port = stalled.local_addr().unwrap().port();
    fill(&mut page, "#endpoint", &format!("ws://127.0.0.1:{port}/"));
    page.press("Enter");
    page.wait_for_text("#state-headline", "Connecting");
    Some((server, page, stalled))
}

#[test]
fn a_link_with_a_script_or_a_huge_message_is_text_alone() {
    let script = "javascript%3Awindow.hacked%3D1";
    let Some((server, mut page)) = page_at(&format!(
        "/?autoconnect#endpoint={script}&message=%3Cimg+src%3Dx+onerror%3Dhacked%3D1%3E"
    )) else {
        return;
    };
    page.wait_for_text("#state-headline", "Could not connect");
    assert_eq!(page.eval("window.hacked === undefined"), true);
    fill(&mut page, "#endpoint", "/ws/echo");
    say(&mut page, "");
    page.wait_for_text(LATEST, "<img src=x onerror=hacked=1>");
    page.click("#save-message");
    assert_eq!(count(&mut page, "#workbench img"), 0);
    let message = "x".repeat(1 << 20);
    let Some(mut page) = open(&server, &format!("/#endpoint=/ws/echo&message={message}")) else {
        return;
    };
    page.wait_for("document.querySelector('#message').value.length === 1 << 20");
    page.press("Enter");
    page.wait_for_text(LATEST, "xxx");
}

#[test]
fn damaged_and_forbidden_storage_leave_the_page_usable() {
    let Some((_server, mut page)) = page() else { return };
    let deep = "'['.repeat(100000)";
    let wrong =
        "JSON.stringify({ version: 1, connections: [{ endpoint: 5 }], saved: {}, history: 1 })";
    for damaged in [deep, wrong, "'\\0'", "'{\"version\":1'"] {
        page.eval(&format!("localStorage.setItem('echogate-settings', {damaged})"));
        reload(&mut page);
        assert_eq!(page.text(".connections .name"), "/ws", "{damaged}");
    }
    page.eval(
        "for (const name of ['getItem', 'setItem', 'removeItem'])
            Storage.prototype[name] = () => { throw new DOMException('no', 'SecurityError'); }",
    );
    say(&mut page, "still works");
    page.wait_for_text(LATEST, "STILL WORKS");
}

#[test]
fn what_was_forgotten_is_not_in_the_storage() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "secret");
    page.wait_for("localStorage.getItem('echogate-settings')?.includes('secret')");
    page.click("#transcript-menu");
    page.click("#forget");
    page.wait_for_text("#transcript-note", "were removed from this browser");
    assert!(page.eval("localStorage.getItem('echogate-settings')").is_null());
}

#[test]
fn a_reload_of_a_link_does_not_add_its_connection_again() {
    let Some((_server, mut page)) = page_at("/#endpoint=/ws/echo&message=a") else { return };
    for _ in 0..2 {
        say(&mut page, "b");
        page.wait_for_text(LATEST, "b");
        reload(&mut page);
        assert_eq!(count(&mut page, ".connections li"), 1);
    }
}

#[test]
fn a_link_that_is_opened_in_the_tab_of_the_page_is_applied_without_a_loss() {
    let Some((_server, mut page)) = page() else { return };
    let open = |page: &mut Page, endpoint: &str, message: &str| {
        page.eval(&format!("location.hash = '#endpoint={endpoint}&message={message}'"));
        page.wait_for(&format!(
            "['endpoint', 'message'].map((id) => document.getElementById(id).value).join()
                === '{endpoint},{message}'"
        ));
    };
    open(&mut page, "/ws/echo", "first");
    assert_eq!(count(&mut page, ".connections li"), 1);
    page.click("#message");
    page.press("Enter");
    page.wait_for_text(LATEST, "first");
    // An open connection of the same address takes the message.
    open(&mut page, "/ws/echo", "second");
    assert_eq!(page.text("#state-headline"), "Connected");
    assert_eq!(count(&mut page, ".connections li"), 1);
    // A message that was not sent stays where it is.
    open(&mut page, "/ws/time", "1532345678");
    assert_eq!(count(&mut page, ".connections li"), 2);
    page.click(".connections li:first-child button");
    page.wait_for("document.querySelector('#message').value === 'second'");
}

#[test]
fn going_back_restores_what_was_shown_before_a_link_and_opens_nothing() {
    let Some((server, mut page)) = page() else { return };
    let shows = |page: &mut Page, endpoint: &str, message: &str, connections: u64| {
        page.wait_for(&format!(
            "['endpoint', 'message'].map((id) => document.getElementById(id).value).join()
                === '{endpoint},{message}'"
        ));
        assert_eq!(count(page, ".connections li"), connections, "{endpoint} {message}");
    };
    let open = |page: &mut Page, endpoint: &str, message: &str| {
        page.eval(&format!("location.hash = '#endpoint={endpoint}&message={message}'"));
    };
    let go = |page: &mut Page, steps: i32| drop(page.eval(&format!("history.go({steps})")));
    shows(&mut page, "/ws", "", 1);
    open(&mut page, "/ws/echo", "first");
    shows(&mut page, "/ws/echo", "first", 1);
    go(&mut page, -1);
    shows(&mut page, "/ws", "", 1);
    go(&mut page, 1);
    shows(&mut page, "/ws/echo", "first", 1);
    // A changed draft stays with the connection of its link.
    page.click("#message");
    page.press("End");
    page.type_text("!");
    open(&mut page, "/ws/time", "5");
    shows(&mut page, "/ws/time", "5", 2);
    go(&mut page, -1);
    shows(&mut page, "/ws/echo", "first!", 2);
    open(&mut page, "/ws/time", "5");
    shows(&mut page, "/ws/time", "5", 2);
    page.click("#message");
    page.press("Enter");
    page.wait_for_text(LATEST, "1970");
    open(&mut page, "/ws/echo", "first");
    shows(&mut page, "/ws/echo", "first!", 2);
    go(&mut page, -1);
    shows(&mut page, "/ws/time", "5", 2);
    assert_eq!(page.text("#state-headline"), "Connected");
    server
        .wait_for_connections(|all| all.iter().filter(|it| it["kind"] == "websocket").count() == 1);
}

#[test]
fn saved_messages_are_chosen_and_deleted_by_what_they_are() {
    let Some((_server, mut page)) = page() else { return };
    for text in ["one", "two"] {
        fill(&mut page, "#message", text);
        page.click("#save-message");
        page.wait_for_text("#template option:last-child", text);
    }
    choose(&mut page, "#template", "saved-0");
    page.wait_for("document.querySelector('#message').value === 'one'");
    page.click("#save-message");
    choose(&mut page, "#template", "saved-1");
    page.wait_for("document.querySelector('#message').value === 'two'");
    choose(&mut page, "#template", "saved-0");
    page.wait_for("document.querySelector('#message').value === 'one'");
    page.click("#delete-message");
    page.wait_for("document.querySelectorAll('#template [data-saved]').length === 1");
    assert_eq!(page.text("#template [data-saved]"), "two");
    page.wait_for("document.querySelector('#delete-message').hidden");
}

#[test]
fn enter_while_connecting_sends_the_message_once_the_connection_is_open() {
    let Some((_server, mut page, stalled)) = stalled() else { return };
    say(&mut page, "early");
    assert_eq!(page.text("#composer-problem"), "");
    let (socket, _) = stalled.accept().unwrap();
    let mut socket = RawWsServer::accept(socket, &[]);
    assert_eq!(socket.read().payload, b"early");
    page.wait_for_text("#state-headline", "Connected");
}

#[test]
fn a_card_of_another_endpoint_opens_a_connection_of_its_own() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#transcript-menu");
    page.click("#clear");
    page.wait_for("!document.querySelector('#empty').hidden");
    page.click(".card [aria-label='Try it: echo']");
    page.wait_for_text(LATEST, "hello");
    assert_eq!(count(&mut page, ".connections [data-state=open]"), 2);
    page.click(".connections li:first-child button");
    page.wait_for("document.querySelector('#endpoint').value === '/ws'");
    page.click(".card [aria-label='Try it: upper']");
    page.wait_for_text(LATEST, "HELLO");
    assert_eq!(count(&mut page, ".connections li"), 2);
}

#[test]
fn a_change_of_the_language_keeps_the_scroll_position_and_the_opened_message() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("row");
    fill(&mut page, "#burst", "200");
    page.click("#burst-send");
    page.wait_for_text("#row-count", "401 rows");
    page.eval("document.querySelector('#transcript').scrollTop = 3000");
    page.wait_for("!document.querySelector('#to-end').hidden");
    page.click(".rows > :nth-child(7)");
    page.wait_for("!document.querySelector('#detail').hidden");
    page.eval("document.querySelector('#transcript').scrollTop = 1000");
    // The page learns of the position before the next frame.
    let frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
    page.eval(frames);
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#state-headline", "已连接");
    page.eval(frames);
    assert_eq!(page.eval("document.querySelector('#transcript').scrollTop"), 1000);
    assert_eq!(page.eval("document.querySelector('#detail').hidden"), false);
}

#[test]
fn a_pin_by_keyboard_keeps_the_focus_and_what_is_selected() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "pinned");
    page.wait_for_text(LATEST, "PINNED");
    page.click(".rows > .received");
    page.wait_for("document.querySelector('#detail pre')");
    page.eval("window.pre = document.querySelector('#detail pre'), document.querySelector('#pin').focus()");
    page.press("Enter");
    page.wait_for_text("#pin", "Unpin");
    assert_eq!(focused(&mut page), "pin");
    assert_eq!(page.eval("window.pre.isConnected"), true, "the message is not drawn anew");
    page.press("Escape");
    page.wait_for("document.querySelector('#detail').hidden");
    assert_eq!(focused(&mut page), "transcript");
}

#[test]
fn the_focus_moves_to_what_takes_the_place_of_a_hidden_button() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for("!document.querySelector('#ladder').hidden");
    assert_eq!(focused(&mut page), "show-transcript");
    page.press("Enter");
    page.wait_for("document.querySelector('#ladder').hidden");
    assert_eq!(focused(&mut page), "show-ladder");
    page.click("#remove");
    page.wait_for("document.querySelectorAll('.connections li').length === 1");
    assert_eq!(focused(&mut page), "add");
}

#[test]
fn the_fifth_client_is_not_followed_and_the_page_says_why() {
    let Some((server, mut page)) = page() else { return };
    let clients: Vec<_> =
        (0..5).map(|_| TcpStream::connect(server.address("upper")).unwrap()).collect();
    page.wait_for("document.querySelectorAll('.client').length === 5");
    for n in 1..=4 {
        page.click(&format!(".client:nth-child({n}) button"));
        page.wait_for_text(".rows .note .payload", "Connected to upper");
    }
    page.click(".client:nth-child(5) button");
    page.wait_for_text("#transcript-note", "Limit: 4 clients followed at once");
    page.click("#remove");
    page.click(".client:nth-child(5) button");
    page.wait_for_text(".rows .note .payload", "Connected to upper");
    drop(clients);
}

#[test]
fn a_client_that_floods_is_followed_within_bounds_and_losses_are_reported() {
    let Some((_server, mut page, mut client)) = followed() else { return };
    let mut replies = client.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while replies.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let block = vec![b'x'; 1 << 20];
    for _ in 0..160 {
        client.write_all(&block).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    reader.join().unwrap();
    drop(client);
    page.wait_for_text("#state-headline", "Connection ended");
    page.wait_for_text(".rows .note:last-child", "Ended");
    choose(&mut page, "#show", "3");
    page.wait_for_text(".rows", "; the page was slower than the connection");
    let memory = wasm_memory(&mut page) + page.memory();
    assert!(memory < 200 << 20, "{memory} bytes");
}

#[test]
fn a_stream_that_breaks_with_the_server_has_ended() {
    let Some((mut server, mut page, _client)) = followed() else { return };
    page.expect_error("Failed to load resource");
    page.expect_error("net::ERR");
    server.signal("KILL");
    page.wait_for_text("#state-headline", "Connection ended");
    server.wait();
}
