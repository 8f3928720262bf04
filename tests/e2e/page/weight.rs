//! The page's size, frame rate and memory.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use echogate_tests::browser::Page;

use super::{LATEST, connected, connected_to_upstream, fill, page, wasm_memory};

/// The limit on the transfer size of the first view, in bytes.
const BUDGET: u64 = 160 << 10;

#[test]
fn the_first_view_is_small_and_comes_from_this_server_alone() {
    let Some((server, mut page)) = page() else { return };
    page.wait_for("performance.getEntriesByType('resource').some((it) => it.name.endsWith('.wasm') && it.transferSize)");
    let entries = page.eval(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
            .map(({ name, transferSize }) => [name, transferSize])",
    );
    let mut sum = 0;
    for entry in entries.as_array().unwrap() {
        let (name, size) = (entry[0].as_str().unwrap(), entry[1].as_u64().unwrap());
        assert!(name.starts_with(server.url("http")), "{name}");
        sum += size;
    }
    eprintln!("the first view: {sum} bytes, headers and all");
    assert!(sum > 30_000, "something was measured: {entries}");
    assert!(sum <= BUDGET, "{sum} bytes: {entries}");
}

/// The frame rate while `rate` messages a second arrive for this time, and the memory in bytes at
/// the beginning and at the end.
fn stream(rate: u32, span: Duration) -> Option<(f64, [u64; 2])> {
    let (_server, mut page, mut stream) = connected_to_upstream("line")?;
    eprintln!("  idle: {:.1} frames a second", frame_rate(&mut page, Duration::from_secs(2)));
    let mut sent = 0;
    let mut send = |until: Instant, start: Instant| {
        while Instant::now() < until {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
            for n in sent..due {
                writeln!(stream, "message {n} of a stream that goes on and on").unwrap();
            }
            sent = due.max(sent);
            // The interval of the stream, not a wait for an event.
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    };
    let start = Instant::now();
    // The transcript fills up first: memory of rows dropped from then on must be freed.
    let warm = start + span / 2;
    send(warm, start);
    let first = memory(&mut page);
    page.eval("window.frames_drawn = 0; (function frame() { frames_drawn++; requestAnimationFrame(frame); })()");
    let before = page.cpu_seconds();
    let counted = Instant::now();
    let sent = send(start + span, start);
    let seconds = counted.elapsed().as_secs_f64();
    let frames = page.eval("frames_drawn").as_f64().unwrap() / seconds;
    let after = page.cpu_seconds();
    print_cpu(before, after, seconds);
    page.wait_for_text(LATEST, &format!("message {} of", sent - 1));
    let last = memory(&mut page);
    Some((frames, [first, last]))
}

/// The frame rate over this time.
fn frame_rate(page: &mut Page, span: Duration) -> f64 {
    let rate = page.eval(&format!(
        "new Promise((done) => {{ const start = performance.now(); let frames = 0;
            (function frame() {{ const span = performance.now() - start;
                if (span > {}) done(frames * 1000 / span);
                else {{ frames++; requestAnimationFrame(frame); }} }})(); }})",
        span.as_millis()
    ));
    rate.as_f64().unwrap()
}

/// Prints the time that the browser's threads took between two measurements, by kind of work.
fn print_cpu(before: [f64; 4], after: [f64; 4], seconds: f64) {
    for (what, n) in ["scripts", "styles", "layout", "everything"].iter().zip(0..) {
        eprintln!("  {what}: {:.1} ms a second", (after[n] - before[n]) * 1000.0 / seconds);
    }
}

/// The memory of the page's objects and of its WebAssembly, in bytes.
fn memory(page: &mut Page) -> u64 {
    page.memory() + wasm_memory(page)
}

#[test]
#[ignore = "figures of ten seconds, for people: cargo test --release frames -- --ignored --nocapture"]
fn the_frames_a_second_while_a_thousand_messages_a_second_come_in() {
    let Some((frames, _)) = stream(1000, Duration::from_secs(10)) else { return };
    eprintln!("1,000 messages a second: {frames:.1} frames a second");
}

#[test]
#[ignore = "figures of ten seconds, for people: cargo test --release frames -- --ignored --nocapture"]
fn the_frames_a_second_while_a_thousand_messages_a_second_are_sent_and_answered() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("a message that is sent over and over");
    fill(&mut page, "#interval", "1");
    page.click("#repeat");
    page.wait_for_text("#figure-received", "000 messages");
    let before = page.cpu_seconds();
    let span = Duration::from_secs(10);
    let frames = frame_rate(&mut page, span);
    let after = page.cpu_seconds();
    print_cpu(before, after, span.as_secs_f64());
    eprintln!("  {}", page.text("#flow .rates"));
    eprintln!("1,000 messages a second each way: {frames:.1} frames a second");
    page.click("#repeat");
}

/// `ECHOGATE_MINUTES=10 cargo test --release memory_is_flat -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes: those that ECHOGATE_MINUTES says, or two"]
fn memory_is_flat_over_a_long_stream() {
    let minutes = std::env::var("ECHOGATE_MINUTES").map_or(2, |minutes| minutes.parse().unwrap());
    let span = Duration::from_secs(60 * minutes);
    let Some((frames, [first, last])) = stream(1000, span) else { return };
    eprintln!(
        "{minutes} minutes: {frames:.1} frames a second; {first} bytes at half time, {last} at the end"
    );
    assert!(last < first + (8 << 20), "{first} grew to {last}");
}
