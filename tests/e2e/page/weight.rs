//! The page's size and memory.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use echogate_tests::{browser::Page, server::Server};

use super::{LATEST, choose, connected_to_upstream, page, wasm_memory};

/// The limit on the transfer size of the first view, in bytes.
const BUDGET: u64 = 160 << 10;

#[test]
fn the_first_view_is_small_in_both_languages_and_comes_from_this_server_alone() {
    let Some((server, mut page)) = page() else { return };
    wait_for_resource(&mut page, ".wasm");
    let english = transfer_size(&mut page, &server);
    let of_module =
        "performance.getEntriesByType('resource').filter((it) => it.name.endsWith('.wasm')).length";
    assert_eq!(page.eval(of_module), 1, "the module is preloaded, and loaded once");
    assert!(english > 30_000, "something was measured: {english} bytes");
    // The first view in Chinese is that in English and the file with the texts.
    choose(&mut page, "#language", "zh-Hans");
    wait_for_resource(&mut page, "zh-Hans.txt");
    let chinese = transfer_size(&mut page, &server);
    eprintln!("the first view: {english} bytes, {chinese} in Chinese, headers and all");
    assert!(english < chinese && chinese <= BUDGET, "{english} bytes, {chinese} in Chinese");
}

/// Waits until a resource with this end of its name has been transferred.
fn wait_for_resource(page: &mut Page, name: &str) {
    let entries = "performance.getEntriesByType('resource')";
    page.wait_for(&format!(
        "{entries}.some((it) => it.name.endsWith('{name}') && it.transferSize)"
    ));
}

/// The bytes of all that the page has loaded, headers included, each from this server.
fn transfer_size(page: &mut Page, server: &Server) -> u64 {
    let entries = page.eval(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
            .map(({ name, transferSize }) => [name, transferSize])",
    );
    let sizes = entries.as_array().unwrap().iter().map(|entry| {
        let (name, size) = (entry[0].as_str().unwrap(), entry[1].as_u64().unwrap());
        assert!(name.starts_with(server.url("http")), "{name}");
        size
    });
    sizes.sum()
}

/// The memory of the page's objects and of its WebAssembly, in bytes.
fn memory(page: &mut Page) -> u64 {
    page.memory() + wasm_memory(page)
}

/// `ECHOGATE_MINUTES=10 cargo test --release memory_is_flat -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes: those that ECHOGATE_MINUTES says, or two"]
fn memory_is_flat_over_a_long_stream() {
    let minutes = std::env::var("ECHOGATE_MINUTES").map_or(2, |minutes| minutes.parse().unwrap());
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    let (start, mut sent) = (Instant::now(), 0);
    let mut send_for = |span: Duration| {
        let until = Instant::now() + span;
        while Instant::now() < until {
            let due = start.elapsed().as_millis();
            for n in sent..due {
                writeln!(stream, "message {n} of a stream that goes on and on").unwrap();
            }
            sent = due;
            // The interval of the stream, not a wait for an event.
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    };
    let half = Duration::from_secs(30 * minutes);
    // The transcript fills up first: memory of rows dropped from then on must be freed.
    send_for(half);
    let first = memory(&mut page);
    let sent = send_for(half);
    page.wait_for_text(LATEST, &format!("message {} of", sent - 1));
    let last = memory(&mut page);
    eprintln!("{minutes} minutes: {first} bytes at half time, {last} at the end");
    assert!(last < first + (8 << 20), "{first} grew to {last}");
}
