//! Terminal mode: lines out as they are typed, replies above the prompt as they come.
//!
//! - `editor`: the prompt, on a thread of its own
//! - `screen`: who writes to the terminal, and when
//! - `lines`: from received bytes to lines that are safe to show
//! - `timing`: which reply belongs to which line

mod editor;
mod lines;
mod screen;
mod timing;

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, raise};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

use self::{editor::Typed, lines::Lines, screen::Screen, timing::RoundTrips};
use super::link::{Inbound, Outbound, Received, Stop, both};

/// How long the end of a line may be waited for before its beginning is shown.
const LINE_PAUSE: Duration = Duration::from_millis(50);

/// How long a goodbye may take when there is nothing more to wait for.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// What is said beside the replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Each reply's round-trip time.
    pub(super) timing: bool,
    /// Nothing but the replies.
    pub(super) quiet: bool,
}

/// Lets a person and the peer talk until either is done. `greeting` is shown first.
pub(super) async fn run(
    mut outbound: impl Outbound,
    inbound: impl Inbound,
    greeting: &str,
    manner: Manner,
) -> Result<(), Stop> {
    if !manner.quiet {
        writeln!(io::stderr(), "{greeting}; Ctrl-D ends").ok();
    }
    let (Typed { lines, stopped }, screen) = editor::start().map_err(Stop::Input)?;
    let talk = Talk { trips: manner.timing.then(RefCell::default), finished: Cell::new(false) };
    let upload = talk.upload(lines, &mut outbound);
    let download = talk.download(inbound, &screen);
    let ended = tokio::select! {
        biased;
        Ok(stop) = stopped => Err(stop),
        ended = both(upload, download) => ended,
    };
    screen.close().map_err(Stop::Output)?;
    if let Err(stop) = &ended
        && let Some(code) = stop.goodbye()
    {
        timeout(GOODBYE_TIME, outbound.abandon(code)).await.ok();
    }
    match &ended {
        Ok(words) if !manner.quiet && !talk.finished.get() => {
            writeln!(io::stderr(), "{words}").ok();
        }
        // As the terminal would have it, if a line were not being edited.
        Err(Stop::Interrupted) => raise(Signal::SIGINT).unwrap_or_default(),
        _ => {}
    }
    ended.map(|_| ())
}

/// What both directions know.
#[derive(Debug)]
struct Talk {
    /// What round-trip times are told from, if they are wanted.
    trips: Option<RefCell<RoundTrips>>,
    /// Whether we have said that nothing more will be sent.
    finished: Cell<bool>,
}

impl Talk {
    async fn upload(
        &self,
        mut lines: UnboundedReceiver<String>,
        outbound: &mut impl Outbound,
    ) -> Result<(), Stop> {
        while let Some(line) = lines.recv().await {
            if let Some(trips) = &self.trips {
                trips.borrow_mut().sent(Instant::now());
            }
            outbound.send_line(line).await.map_err(Stop::Connection)?;
        }
        self.finished.set(true);
        outbound.finish().await.map_err(Stop::Connection)
    }

    /// Shows what comes. Gives the words in which the peer said that it is done.
    async fn download(&self, mut inbound: impl Inbound, screen: &Screen) -> Result<String, Stop> {
        let mut lines = Lines::default();
        loop {
            let received = if lines.has_rest() {
                timeout(LINE_PAUSE, inbound.receive()).await.ok()
            } else {
                Some(inbound.receive().await)
            };
            let (shown, end) = match received {
                // A pause: a prompt without a newline, say.
                None => (self.replies(lines.take_rest()), None),
                Some(Ok(Received::Bytes(bytes))) => (self.replies(lines.push(&bytes)), None),
                Some(Ok(Received::Message(message))) => (self.message(&message), None),
                Some(Ok(Received::End(words))) => {
                    (self.replies(lines.take_rest()), Some(Ok(words)))
                }
                Some(Err(error)) => (self.replies(lines.take_rest()), Some(Err(error))),
            };
            if !shown.is_empty() {
                screen.show(&shown).await.map_err(Stop::Output)?;
            }
            if let Some(end) = end {
                return end.map_err(Stop::Connection);
            }
        }
    }

    /// Lines of a stream, to be shown: each is a reply.
    fn replies(&self, lines: impl IntoIterator<Item = String>) -> String {
        lines.into_iter().map(|line| line + &self.time() + "\n").collect()
    }

    /// A message, to be shown: all its lines are one reply.
    fn message(&self, message: &[u8]) -> String {
        let mut lines = Lines::default();
        let mut shown = lines.push(message);
        shown.extend(lines.take_rest());
        shown.join("\n") + &self.time() + "\n"
    }

    /// The round-trip time of a reply that is here now, as it stands behind it.
    fn time(&self) -> String {
        let trips = self.trips.as_ref();
        let time = trips.and_then(|trips| trips.borrow_mut().received(Instant::now()));
        time.map_or_else(String::new, |time| format!("  ({:.3} ms)", time.as_secs_f64() * 1e3))
    }
}
