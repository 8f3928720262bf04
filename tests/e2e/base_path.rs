//! `--base-path`: the page, the API and routes below a path, and at the root for proxies that strip
//! it.

use std::{fs, process::Command};

use echogate_tests::{
    http::{self, Response, exchange},
    server::Server,
    ws::{BROWSER, RawWs},
};

use crate::ECHOGATE;

const BASE: &str = "/tools/echogate";

fn server(arguments: &[&str]) -> Server {
    Server::start(ECHOGATE, &[&["--base-path", BASE], arguments].concat())
}

fn answers(server: &Server, path: &str) {
    let origin = format!("Origin: http://{}", server.address("http"));
    let mut client = RawWs::connect_with(server, path, &[&origin, BROWSER]);
    assert_eq!(client.exchange(b"hello"), b"HELLO", "{path}");
}

#[test]
fn everything_is_served_below_the_base_path_and_at_the_root() {
    let server = server(&["--route", "/ws=service:upper"]);
    let address = server.address("http");
    for base in [BASE, ""] {
        let page = http::get(address, &format!("{base}/"));
        assert!(page.status == 200 && page.text().contains("<html"), "{base}: {page:?}");
        for path in ["/echogate.js", "/api/endpoints", "/api/connections", "/metrics", "/version"] {
            assert_eq!(http::get(address, &format!("{base}{path}")).status, 200, "{base}{path}");
        }
        assert_eq!(http::get(address, &format!("{base}/healthz")).text(), "ok\n");
        assert_eq!(http::get(address, &format!("{base}/readyz")).text(), "ready\n");
        let mut stream = http::connect(address);
        let request = [&*format!("GET {base}/api/events HTTP/1.1"), "Host: localhost"];
        assert_eq!(exchange(&mut stream, &request).status, 200);
        answers(&server, &format!("{base}/ws?label=x"));
        let missing = http::get(address, &format!("{base}/nowhere"));
        assert_eq!((missing.status, &*missing.text()), (404, "no such path: /nowhere\n"));
    }
    for elsewhere in ["/tools", "/tools/", "/tools/echogate2/", "/tools/echogate/tools/echogate/"] {
        assert_eq!(http::get(address, elsewhere).status, 404, "{elsewhere}");
    }
    assert_eq!(server.printed("page       "), Some(format!("http://{address}{BASE}/")));
}

#[test]
fn without_its_slash_the_base_path_redirects_to_the_page_and_takes_handshakes() {
    let server = server(&["--route", "/=service:upper"]);
    let address = server.address("http");
    for query in ["", "?path=ws"] {
        let response = http::get(address, &format!("{BASE}{query}"));
        assert_eq!(response.status, 308, "{response:?}");
        assert_eq!(response.header("location"), Some(&*format!("{BASE}/{query}")));
    }
    answers(&server, BASE);
    answers(&server, &format!("{BASE}/"));
    let lines = [&*format!("GET {BASE} HTTP/1.1"), "Host: a", "Host: b"];
    assert_eq!(exchange(&mut http::connect(address), &lines).status, 400);
}

#[test]
fn redirections_of_a_folder_lead_below_the_base_path() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/index.html"), "mine").unwrap();
    let server = server(&["--web-root", &folder.path().display().to_string()]);
    let address = server.address("http");
    let location = |path: &str| -> Response { http::get(address, path) };
    for path in [&*format!("{BASE}/sub"), "/sub"] {
        let redirection = location(path);
        let to = redirection.header("location");
        assert_eq!(to, Some(&*format!("{BASE}/sub/")), "{path}: {redirection:?}");
    }
    assert_eq!(http::get(address, &format!("{BASE}/sub/")).text(), "mine");
    assert_eq!(http::get(address, &format!("{BASE}//evil.example")).status, 404);
}

#[test]
fn check_takes_urls_below_the_base_path_and_at_the_root() {
    for (path, expected) in [
        ("/tools/echogate/ws", "accepted   /ws -> "),
        ("/ws", "accepted   /ws -> "),
        ("/tools/echogate2/ws", "no such route: /tools/echogate2/ws"),
    ] {
        let url = format!("ws://localhost:8080{path}");
        let mut command = Command::new(ECHOGATE);
        let output = command.args(["check", "--base-path", BASE, "--url", &url]).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(expected), "{path}: {text}");
    }
}
