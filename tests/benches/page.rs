//! The page beside a bare `WebSocket` in the same tab: round trips of single messages, and the
//! throughput of files, which the bare socket neither reads nor compares. They take turns, so that
//! other load of the machine affects both. Then the memory that files leave, and the frames a second
//! that the page draws while messages come in.
//!
//! `cargo bench -p echogate-tests --bench page` (with `--profile dev` for a debug build)

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use echogate_tests::{browser::Page, server::Server, upstream::Upstream};
use serde_json::{Value, json};

const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");

/// Messages through the page, and through the bare socket.
const MESSAGES: usize = 200;
/// The sizes of the files, in bytes.
const FILES: [usize; 2] = [8 << 20, 64 << 20];
/// Transfers of each file through the page, and through the bare socket.
const TRANSFERS: usize = 5;
/// The time after which the browser has collected the garbage of an idle worker.
const RETURNED_WITHIN: Duration = Duration::from_secs(60);
/// Messages a second while frames are counted.
const STREAM: u32 = 1000;
/// The time for which frames are counted.
const FRAMES_FOR: Duration = Duration::from_secs(10);

fn main() {
    // Cargo passes `--bench`; with `--test` benchmarks are only to be built.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let server = Server::start(ECHOGATE, &[]);
    let url = format!("{}/?autoconnect", server.url("http"));
    let Some(mut page) = Page::open(&url) else { return };
    page.wait_for_text("#state-headline", "Connected");
    page.eval(&bare(&server));
    round_trips(&mut page);
    throughput(&mut page);
    drop(page);
    frames_of_a_stream();
    frames_of_exchanges(&server);
}

/// Defines `bare.exchange(text)`, the round trip of a message in milliseconds, and
/// `bare.transfer(size)`, the time of that many bytes and their echo, without a comparison.
fn bare(server: &Server) -> String {
    let url = json!(server.ws("/ws"));
    format!(
        "new Promise((ready) => {{
            const socket = new WebSocket({url});
            socket.binaryType = 'arraybuffer';
            socket.onopen = ready;
            const part = new Uint8Array(64 << 10);
            window.bare = {{
                exchange: (text) => new Promise((done) => {{
                    let start;
                    socket.onmessage = () => done(performance.now() - start);
                    start = performance.now();
                    socket.send(text);
                }}),
                transfer: (size) => new Promise((done) => {{
                    const start = performance.now();
                    let sent = 0, received = 0;
                    const send = () => {{
                        while (sent < size && sent - received < 4 << 20) {{
                            socket.send(part);
                            sent += part.length;
                        }}
                    }};
                    socket.onmessage = (event) => {{
                        received += event.data.byteLength;
                        if (received >= size) done(performance.now() - start);
                        else send();
                    }};
                    send();
                }}),
            }};
        }}).then(() => null)"
    )
}

/// The time from a script to the change by which an element contains this text. Nothing is evaluated
/// in each frame, as waits of the harness are, which would take the page's time.
fn shown_after(script: &str, selector: &str, text: &str) -> String {
    let (selector, text) = (json!(selector), json!(text));
    format!(
        "new Promise((done) => {{
            const element = document.querySelector({selector});
            const start = performance.now();
            new MutationObserver((_, observer) => {{
                if (!element.textContent.includes({text})) return;
                observer.disconnect();
                done(performance.now() - start);
            }}).observe(element, {{ subtree: true, childList: true, characterData: true }});
            {script}
        }})"
    )
}

fn round_trips(page: &mut Page) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    page.download_to(folder.path());
    let mut of_bare = Vec::new();
    for n in 1..=MESSAGES {
        let time = page.eval(&format!("bare.exchange('message {n}')"));
        of_bare.push(time.as_f64().expect("a time") * 1000.0);
        let submit = format!(
            "const field = document.querySelector('#message');
            field.value = 'message {n}';
            field.dispatchEvent(new InputEvent('input', {{ bubbles: true }}));
            field.form.requestSubmit();"
        );
        page.eval(&shown_after(&submit, "#figure-received", &format!("{n} message")));
        // The page draws its figures until here; the bare socket is not to wait for that.
        page.eval("new Promise((idle) => requestAnimationFrame(() => setTimeout(idle, 20)))");
    }
    page.click("#transcript-menu");
    page.click("[data-action=export]");
    let transcript = fs::read_to_string(page.downloaded(folder.path())).expect("a text file");
    let rows = transcript.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let times: Vec<f64> =
        rows.filter(|row| row["event"] == "data").filter_map(|row| row["time"].as_f64()).collect();
    // Each message is followed by its reply.
    let mut of_page: Vec<f64> =
        times.chunks_exact(2).map(|pair| (pair[1] - pair[0]) * 1e6).collect();
    assert_eq!(of_page.len(), MESSAGES, "the export has each round trip: {transcript}");
    let resolution = page.worker_resolution() * 1e6;
    println!(
        "round trips of {MESSAGES} messages, in µs; the clock has a resolution of {resolution:.1} µs"
    );
    println!("{:>12} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p90", "p99", "mean");
    let bare = summary("bare socket", &mut of_bare);
    let page = summary("page", &mut of_page);
    println!("{:>12} {:>8.2} {:>35.2}", "ratio", page.0 / bare.0, page.1 / bare.1);
}

/// Prints quantiles and the mean; returns the median and the mean.
fn summary(name: &str, times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |per_cent: usize| times[(times.len() * per_cent).div_ceil(100) - 1];
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let [p50, p90, p99] = [50, 90, 99].map(at);
    println!("{name:>12} {p50:>8.0} {p90:>8.0} {p99:>8.0} {mean:>8.0}");
    (p50, mean)
}

fn throughput(page: &mut Page) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    page.click("label[for=mode-file]");
    println!("echo of a file, median of {TRANSFERS}, in MiB/s");
    println!("{:>12} {:>12} {:>8} {:>8}", "", "bare socket", "page", "ratio");
    let before = memory(page);
    for size in FILES {
        let path = folder.path().join(format!("{size}.bin"));
        fs::write(&path, vec![0; size]).expect("a file can be written");
        page.pick_file("#file", &path);
        let start = "document.querySelector('#file-start').click()";
        let (mut of_bare, mut of_page, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TRANSFERS {
            let bare = page.eval(&format!("bare.transfer({size})"));
            let file = page.eval(&shown_after(start, "#file-status", "every byte matches"));
            let [bare, file] = [bare, file].map(|time| time.as_f64().expect("a time"));
            of_bare.push(size as f64 / 1048.576 / bare);
            of_page.push(size as f64 / 1048.576 / file);
            ratios.push(bare / file);
        }
        let [bare, file, ratio] = [of_bare, of_page, ratios].map(median);
        let name = format!("{} MiB", size >> 20);
        println!("{name:>12} {bare:>12.1} {file:>8.1} {ratio:>8.2}");
    }
    let after = memory(page);
    thread::sleep(RETURNED_WITHIN);
    let later = memory(page);
    println!(
        "memory of the page, in MiB: {before:.0} before, {after:.0} after, {later:.0} after a minute"
    );
}

/// The anonymous memory of the browser's renderer processes, with workers and buffers, in MiB.
fn memory(page: &mut Page) -> f64 {
    // Collects garbage.
    page.memory();
    let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |status: &str, name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    let is_ours = |pid: &str| {
        let mut pid = pid.to_owned();
        while pid != "0" && pid != std::process::id().to_string() {
            pid = field(&status(&pid), "PPid:").to_string();
        }
        pid != "0"
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let renderers = processes.filter_map(|it| it.file_name().into_string().ok()).filter(|pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains("--type=renderer") && is_ours(pid)
    });
    renderers.map(|pid| field(&status(&pid), "RssAnon:")).sum::<u64>() as f64 / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The frame rate of an idle page, and of one to which messages come.
fn frames_of_a_stream() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/stream", "line")]);
    let url = format!("{}/?path=stream&autoconnect", server.url("http"));
    let Some(mut page) = Page::open(&url) else { return };
    let stream = upstream.accept();
    page.wait_for_text("#state-headline", "Connected");
    println!("frames a second, over {FRAMES_FOR:?}, and the share of all cores that was busy");
    count_frames(&mut page, "idle");
    let span = FRAMES_FOR + Duration::from_secs(5);
    let sender = thread::spawn(move || send_lines(stream, span));
    page.wait_for_text("#figure-received", "3,");
    count_frames(&mut page, &format!("{STREAM} messages/s"));
    sender.join().expect("the stream was sent");
}

/// The frame rate of a page that sends messages, each of which is answered.
fn frames_of_exchanges(server: &Server) {
    let url = format!("{}/?autoconnect", server.url("http"));
    let Some(mut page) = Page::open(&url) else { return };
    page.wait_for_text("#state-headline", "Connected");
    for (field, text) in [("message", "a message that is sent over and over"), ("interval", "1")] {
        page.eval(&format!(
            "(() => {{ const field = document.querySelector('#{field}'); field.value = '{text}';
                field.dispatchEvent(new InputEvent('input', {{ bubbles: true }})); }})()"
        ));
    }
    page.click("#repeat");
    page.wait_for_text("#figure-received", "2,");
    count_frames(&mut page, &format!("{STREAM}/s each way"));
    page.click("#repeat");
}

/// Writes numbered lines at the rate of [`STREAM`].
fn send_lines(mut stream: TcpStream, span: Duration) {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < span {
        let due = (start.elapsed().as_secs_f64() * f64::from(STREAM)) as u32;
        for n in sent..due {
            writeln!(stream, "message {n} of a stream that goes on and on").expect("a reader");
        }
        sent = due;
        thread::sleep(Duration::from_millis(5));
    }
}

fn count_frames(page: &mut Page, name: &str) {
    let before = (cpu_ticks(), page.cpu_seconds());
    let rate = page.eval(&format!(
        "new Promise((done) => {{ const start = performance.now(); let frames = 0;
            (function frame() {{ const span = performance.now() - start;
                if (span > {}) done(frames * 1000 / span);
                else {{ frames++; requestAnimationFrame(frame); }} }})(); }})",
        FRAMES_FOR.as_millis()
    ));
    let after = (cpu_ticks(), page.cpu_seconds());
    let [busy, all] = [0, 1].map(|at| (after.0[at] - before.0[at]) as f64);
    let main = (after.1[3] - before.1[3]) / FRAMES_FOR.as_secs_f64();
    let rate = rate.as_f64().expect("a rate");
    println!(
        "{name:>20} {rate:>6.1}   machine {:>3.0} %, the page's main thread {:>3.0} %",
        busy * 100.0 / all,
        main * 100.0
    );
}

/// The ticks that all cores were busy, and all ticks, since the machine was started (proc_stat(5));
/// zeros where the system does not tell.
fn cpu_ticks() -> [u64; 2] {
    let Ok(stat) = fs::read_to_string("/proc/stat") else { return [0, 0] };
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    let all = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    [all - idle, all]
}
