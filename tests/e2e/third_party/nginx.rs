//! nginx in front: below a path, which it strips or passes on, over TCP and over a Unix socket.

use std::{fs, path::Path, process::Command};

use echogate_tests::{
    http::{self, exchange},
    program::{Program, free_port, programs},
    server::Server,
    ws::{BROWSER, RawWs, UPGRADE},
};

use crate::ECHOGATE;

/// The configuration of one nginx that serves `/tools/echogate/` on several ports, each with its
/// value of `proxy_pass`.
fn settings(folder: &Path, servers: &[(u16, String)]) -> String {
    let folder = folder.display();
    let servers = servers.iter().map(|(port, pass)| {
        format!(
            "server {{
                listen 127.0.0.1:{port};
                location /tools/echogate/ {{
                    proxy_pass {pass};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $wanted;
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                }}
            }}"
        )
    });
    let servers: String = servers.collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off;
            {temporary}
            map $http_upgrade $wanted {{ default upgrade; '' ''; }}
            {servers}
        }}"
    )
}

#[test]
fn nginx_publishes_the_server_below_a_path_that_it_strips_or_passes_on() {
    let Some([nginx]) = programs(["nginx"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let http = format!("unix://{}", socket.display());
    let server =
        Server::start(
            ECHOGATE,
            &[
                &[
                    "--http",
                    &http,
                    "--base-path",
                    "/tools/echogate",
                    "--route",
                    "/ws=service:upper",
                ][..],
                &["--forwarded-from", "unix", "--forwarded-from", "127.0.0.0/8"],
            ]
            .concat(),
        );
    let (tcp, socket) = (server.address("http"), socket.display());
    let servers = [
        format!("http://{tcp}"),
        format!("http://{tcp}/"),
        format!("http://unix:{socket}"),
        format!("http://unix:{socket}:/"),
    ]
    .map(|pass| (free_port(), pass));
    let file = folder.path().join("nginx.conf");
    fs::write(&file, settings(folder.path(), &servers)).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
    let _nginx = Program::serve(command, servers[servers.len() - 1].0);
    for (port, pass) in &servers {
        let address = format!("127.0.0.1:{port}");
        let get = |path: &str| http::get(&address, &format!("/tools/echogate{path}"));
        let page = get("/");
        assert!(page.status == 200 && page.text().contains("<html"), "{pass}: {page:?}");
        for path in ["/echogate.js", "/api/connections", "/metrics", "/healthz"] {
            assert_eq!(get(path).status, 200, "{pass} {path}");
        }
        // nginx itself adds the slash.
        let redirection = get("");
        assert_eq!(redirection.status, 301, "{pass}");
        let to = redirection.header("location").unwrap_or_default();
        assert!(to.ends_with("/tools/echogate/"), "{pass}: {to}");

        let mut stream = http::connect(&address);
        let (host, origin) = (format!("Host: {address}"), format!("Origin: http://{address}"));
        let request = ["GET /tools/echogate/ws HTTP/1.1", &host, &origin, BROWSER];
        let response = exchange(&mut stream, &[&request[..], &UPGRADE].concat());
        assert_eq!(response.status, 101, "{pass}: {response:?}");
        let mut client = RawWs { stream };
        assert_eq!(client.exchange(b"hello"), b"HELLO", "{pass}");
        let live = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(live[0]["peer"], "127.0.0.1:0", "{pass}");
        let event = first_event(&address, &host);
        assert!(event.contains("\"target\":\"/ws\""), "{pass}: {event}");
        drop(client);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

/// The first chunk of `/api/events`.
fn first_event(address: &str, host: &str) -> String {
    let mut stream = http::connect(address);
    let response = exchange(&mut stream, &["GET /tools/echogate/api/events HTTP/1.1", host]);
    assert_eq!(response.status, 200, "{response:?}");
    let mut line = Vec::new();
    while !line.ends_with(b"\n\n") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}
