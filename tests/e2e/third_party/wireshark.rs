//! tshark, capinfos, editcap and mergecap read recordings.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use echogate_tests::{
    program::{programs, run},
    server::Server,
    tcp,
    upstream::Upstream,
    ws::{self, RawWs, first},
};

use crate::ECHOGATE;

/// Wireshark's programs.
struct Wireshark {
    tshark: PathBuf,
    capinfos: PathBuf,
    editcap: PathBuf,
    mergecap: PathBuf,
}

impl Wireshark {
    fn find() -> Option<Wireshark> {
        let names = ["tshark", "capinfos", "editcap", "mergecap"];
        let [tshark, capinfos, editcap, mergecap] = programs(names)?;
        Some(Wireshark { tshark, capinfos, editcap, mergecap })
    }

    /// The output of tshark for a file, without the warning that it gives root.
    fn read(&self, file: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.tshark);
        command.arg("-r").arg(file).args(["-o", "tcp.check_checksum:TRUE"]).args(arguments);
        let output = run(command);
        output
            .lines()
            .filter(|l| !l.starts_with("Running as user"))
            .map(|l| format!("{l}\n"))
            .collect()
    }

    /// Asserts that the file is accepted, and that no packet of it looks wrong.
    fn check(&self, file: &Path) {
        let wrong = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed";
        assert_eq!(self.read(file, &["-Y", wrong]), "");
        let mut capinfos = Command::new(&self.capinfos);
        capinfos.arg(file);
        let about = run(capinfos);
        assert!(about.contains("Capture application: echogate"), "{about}");
        assert!(about.contains("Time precision = nanoseconds (9)"), "{about}");
        let mut editcap = Command::new(&self.editcap);
        let copy = file.with_extension("pcap");
        editcap.args(["-F", "pcap"]).arg(file).arg(&copy);
        run(editcap);
        assert!(fs::metadata(copy).unwrap().len() > 24);
    }
}

/// Sends `input` with the native client.
fn connect(arguments: &[&str], input: &[u8]) {
    let mut client = Command::new(ECHOGATE)
        .arg("connect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(input).unwrap();
    assert!(client.wait().unwrap().success());
}

#[test]
fn tshark_dissects_what_the_client_has_recorded() {
    let Some(wireshark) = Wireshark::find() else { return };
    let (server, dir) = (crate::server(), tempfile::tempdir().unwrap());
    let file = dir.path().join("ws.pcapng");
    let name = file.to_str().unwrap();
    connect(&["--record", name, &server.ws("/ws")], b"a line\nanother\n");
    wireshark.check(&file);
    let fields = ["-Y", "websocket", "-T", "fields", "-e", "websocket.payload.text"];
    let texts = wireshark.read(&file, &fields);
    for text in ["a line", "another", "A LINE", "ANOTHER"] {
        assert!(texts.contains(text), "{texts}");
    }
    let close = wireshark.read(&file, &["-Y", "websocket.opcode == 8 && websocket.mask == 1"]);
    assert_eq!(close.lines().count(), 1, "{close}");

    let file = dir.path().join("tcp.pcapng");
    let payload = "0123456789abcdef".repeat(20_000);
    let url = format!("tcp://{}", server.address("upper"));
    connect(&["--record", file.to_str().unwrap(), &url], payload.as_bytes());
    wireshark.check(&file);
    let follow = wireshark.read(&file, &["-q", "-z", "follow,tcp,raw,0"]);
    // Lines of the server are indented.
    let hex = |indented: bool| {
        let lines = follow.lines().filter(|line| line.len() > 40 && !line.contains(['=', ':']));
        let lines = lines.filter(|line| line.starts_with('\t') == indented).map(str::trim);
        lines.collect::<String>()
    };
    let expected = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(hex(false) == expected(&payload), "what the client sent");
    assert!(hex(true) == expected(&payload.to_ascii_uppercase()), "what it received");
}

#[test]
fn tshark_dissects_both_sides_of_a_server_in_each_of_several_files() {
    let Some(wireshark) = Wireshark::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (upstream, name) = (Upstream::new(), dir.path().to_str().unwrap());
    let route = upstream.route("/db", "bytes") + "&record=both";
    let record = ["--record", name, "--record-rotate-size", "30K", "--route", &route];
    let mut server = Server::start(ECHOGATE, &record);
    upstream.serve(|mut stream| {
        let mut buffer = [0; 10_000];
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..len]).unwrap();
        }
    });
    let mut ws = RawWs::connect(&server, "/db");
    let frame = ws::frame(first::BINARY, &[b'x'; 50_000]);
    let mut echo = 0;
    for piece in frame.chunks(7_000) {
        ws.send(piece);
        tcp::wait_until_read(&ws.stream);
    }
    while echo < 50_000 {
        echo += ws.read().payload.len();
    }
    ws.end(1000, "bye");
    server.wait_for_connections(<[_]>::is_empty);
    server.signal("TERM");
    assert!(server.wait().success());
    let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    let mut close = String::new();
    for file in &files {
        wireshark.check(file);
        close += &wireshark.read(file, &["-Y", "websocket.opcode == 8 && websocket.mask == 1"]);
        let comments = wireshark.read(file, &["-T", "fields", "-e", "frame.comment"]);
        assert!(comments.contains("connection 1: websocket /db, client "), "{comments}");
    }
    assert_eq!(close.lines().count(), 1, "dissection finds the frame behind the one that was cut");
    let comments = wireshark.read(files.last().unwrap(), &["-T", "fields", "-e", "frame.comment"]);
    assert!(comments.contains("; bytes before this file: "), "{comments}");
    assert!(comments.contains("upstream side: "), "{comments}");

    // Together the files have one connection, without a gap, whose frames are whole.
    let merged = dir.path().join("merged.pcapng");
    let mut mergecap = Command::new(&wireshark.mergecap);
    mergecap.arg("-w").arg(&merged).args(&files);
    run(mergecap);
    assert_eq!(wireshark.read(&merged, &["-Y", "tcp.analysis.lost_segment"]), "");
    let lengths = ["-T", "fields", "-e", "websocket.payload_length_ext_16"];
    let sent = wireshark.read(&merged, &[&["-Y", "websocket.mask == 1"][..], &lengths].concat());
    assert_eq!(sent.lines().collect::<Vec<_>>(), ["50000", ""], "the frame, and the Close");
    let follow = wireshark.read(&merged, &["-q", "-z", "follow,tcp,raw,0"]);
    let bytes = |indented: bool| {
        let lines = follow.lines().filter(|line| line.starts_with('\t') == indented);
        let lines = lines.map(str::trim).filter(|line| !line.contains(['=', ':', ' ']));
        lines.map(|line| line.len() / 2).sum::<usize>()
    };
    let heads = wireshark.read(&merged, &["-q", "-z", "follow,tcp,ascii,0"]);
    assert_eq!(heads.matches("GET /db HTTP/1.1").count(), 1, "the head is there once");
    // Behind the heads: a header of 8 bytes, the payload, and a Close of 11 bytes.
    assert!((50_019..51_000).contains(&bytes(false)), "{} bytes", bytes(false));
    let mut compare = Command::new(ECHOGATE);
    compare.arg("compare").args([&merged, &merged]);
    let same = run(compare);
    assert!(same.ends_with("the same: 1 connection\n"), "{same}");
}
