//! The page, in a browser, against the real server.
//!
//! - `connections`: several at once; opening, ending and reconnecting
//! - `composer`: text, hex, files, repeats, history
//! - `transcript`: tens of thousands of rows, search, pins, export and import
//! - `stream`: clients that the user follows, and their ladder
//! - `first_run`: the cards of an empty transcript
//! - `keep`: settings that survive a reload, links to the page, and messages as programs
//! - `instruments`: round trips, and the server's live view of connections
//! - `chat`: both ends of a chat
//! - `reach`: keyboard, screen readers, languages, small windows
//! - `times`: the worker with the sockets: true times, and files
//! - `weight`: size and memory
//! - `hostile`: hostile and damaged input, actions at unusual moments
//! - `lesson`: the six steps in the life of a connection
//! - `states`: tours through the page's states, for `layout` and `pictures`
//! - `layout`: geometry and contrast in each of these states
//! - `pictures`: screenshots for the documentation

mod chat;
mod composer;
mod connections;
mod first_run;
mod hostile;
mod instruments;
mod keep;
mod layout;
mod lesson;
mod pictures;
mod reach;
mod states;
mod stream;
mod times;
mod transcript;
mod weight;

use std::{fs, io::Write as _, net::TcpStream, path::Path};

use echogate_tests::{browser::Page, http, server::Server, upstream::Upstream};

use crate::ECHOGATE;

/// A server and its page, not yet connected; `None` without a browser.
fn page() -> Option<(Server, Page)> {
    page_at("/")
}

fn page_at(path: &str) -> Option<(Server, Page)> {
    let server = Server::start(ECHOGATE, &[]);
    let page = open(&server, path)?;
    Some((server, page))
}

/// The page of a server, not yet connected; `None` without a browser.
pub(crate) fn open(server: &Server, path: &str) -> Option<Page> {
    let mut page = Page::open(&format!("{}{path}", server.url("http")))?;
    page.wait_for("document.querySelector('#toggle')");
    // The workbench has loaded the server's routes: the layout is stable.
    page.wait_for("location.hash || document.querySelector('#endpoints option')");
    Some(page)
}

/// A page whose server has not this file of it until the function is called.
fn page_without(name: &'static str) -> Option<(Server, Page, impl Fn())> {
    let web = tempfile::tempdir().unwrap();
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/dist");
    for file in fs::read_dir(&dist).unwrap().map(Result::unwrap) {
        if file.file_name() != name {
            fs::copy(file.path(), web.path().join(file.file_name())).unwrap();
        }
    }
    let server = Server::start(ECHOGATE, &["--web-root", web.path().to_str().unwrap()]);
    let mut page = open(&server, "/")?;
    page.expect_error("404");
    let restore = move || {
        fs::copy(dist.join(name), web.path().join(name)).unwrap();
    };
    Some((server, page, restore))
}

/// A server and its page, connected.
fn connected() -> Option<(Server, Page)> {
    let (server, mut page) = page()?;
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    Some((server, page))
}

/// A page connected to a route with this framing, and the upstream's end of the connection.
fn connected_to_upstream(framing: &str) -> Option<(Server, Page, TcpStream)> {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/upstream", framing)]);
    let mut page = open(&server, "/?path=upstream&autoconnect")?;
    let stream = upstream.accept();
    page.wait_for_text("#state-headline", "Connected");
    Some((server, page, stream))
}

/// Subscribers of a server's events, as many as the server accepts.
fn subscribers(server: &Server) -> Vec<TcpStream> {
    let subscribe = |_| {
        let address = server.address("http");
        let mut stream = http::connect(address);
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let head = http::read_head(&mut stream).unwrap();
        assert!(head.contains("200"), "{head}");
        stream
    };
    (0..64).map(subscribe).collect()
}

fn say(page: &mut Page, text: &str) {
    page.click("#message");
    page.type_text(text);
    page.press("Enter");
}

/// Replaces the text of a field.
fn fill(page: &mut Page, field: &str, text: &str) {
    page.eval(&format!("document.querySelector('{field}').select()"));
    page.type_text(text);
}

/// Chooses an option of a list by its value.
fn choose(page: &mut Page, list: &str, value: &str) {
    page.eval(&format!(
        "(() => {{ const list = document.querySelector('{list}'); list.value = '{value}';
            list.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    ));
}

/// The number of elements of a selector.
fn count(page: &mut Page, selector: &str) -> u64 {
    page.eval(&format!("document.querySelectorAll('{selector}').length")).as_u64().unwrap()
}

/// The size of the page's WebAssembly memory, in bytes.
fn wasm_memory(page: &mut Page) -> u64 {
    let size = "import('/echogate.js').then((it) => it.default())
        .then((wasm) => wasm.memory.buffer.byteLength)";
    page.eval(size).as_u64().unwrap()
}

/// The latest row, if it is of a received message.
const LATEST: &str = ".rows > .received:last-child .payload";
