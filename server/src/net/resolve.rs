//! Host names to addresses, by the system's resolver (getaddrinfo) and a short cache.
//!
//! getaddrinfo blocks its thread for as long as a name server keeps silent, so look-ups
//! have threads of their own, and few:
//!
//! - All callers that ask for a name share one look-up. A caller that gives up leaves; the
//!   look-up goes on for the others.
//! - A look-up that has not ended after [`HUNG`] is not waited for by later callers alone:
//!   one more is started beside it, up to [`LOOKUPS_PER_NAME`].
//! - All names together have [`MAX_THREADS`] threads. A name beyond waits for one of them.
//! - Answers are kept for [`ANSWER_TTL`], failures for [`FAILURE_TTL`].

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use echogate_proto::endpoint::HostPort;
use tokio::sync::watch;

use crate::text::escape;

/// How long the addresses of a name are kept.
const ANSWER_TTL: Duration = Duration::from_secs(5);

/// How long a failed look-up is kept.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// How long a look-up may take before another caller starts a second one.
const HUNG: Duration = Duration::from_secs(5);

/// Look-ups of one name that may be running at once.
const LOOKUPS_PER_NAME: usize = 2;

/// Look-ups of all names that may be running at once. Second look-ups of a name get at most
/// half of the threads, so that names that hang leave some for others.
const MAX_THREADS: usize = 64;

/// Names that are kept, those being looked up aside.
const MAX_NAMES: usize = 256;

/// The addresses of a host, in the order of preference that the system gives them.
///
/// Dropping the future does not end the look-up, which others may wait for.
///
/// # Errors
///
/// Why the name has no address.
pub(crate) async fn addresses(at: &HostPort) -> Result<Vec<SocketAddr>, ResolveError> {
    static SYSTEM: LazyLock<Resolver> =
        LazyLock::new(|| Resolver::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));
    SYSTEM.addresses(&at.host, at.port).await
}

/// Why a name has no address.
#[derive(Clone, Debug)]
pub(crate) struct ResolveError(Arc<str>);

impl ResolveError {
    fn new(error: &io::Error) -> ResolveError {
        // The system's words come behind "failed to lookup address information: ".
        let text = error.to_string();
        let cause = io::Error::other(text.rsplit(": ").next().unwrap_or_default());
        ResolveError(escape::words(&cause).into())
    }

    /// The same as an error that names the host.
    pub(crate) fn of_host(&self, host: &str) -> io::Error {
        let host = escape::escape(host);
        io::Error::other(format!("cannot resolve the host name \"{host}\": {self}"))
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResolveError {}

/// The addresses of a name, each with any port.
type Answer = Result<Arc<[SocketAddr]>, ResolveError>;

/// Blocks until a name's addresses are known, each with any port.
type LookUp = Box<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A resolver with its cache. Clones share both.
#[derive(Clone)]
struct Resolver(Arc<Inner>);

struct Inner {
    look_up: LookUp,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    names: HashMap<Arc<str>, Name>,
    /// Names whose look-up waits for a thread, each at most once.
    queue: VecDeque<Arc<str>>,
    threads: usize,
}

/// What is known and under way about a name.
#[derive(Default)]
struct Name {
    /// The last answer, and until when it holds.
    known: Option<(Answer, Instant)>,
    /// Gives the next answer to the callers that wait for it.
    waiting: Option<watch::Sender<Option<Answer>>>,
    /// Look-ups that are running.
    running: usize,
    /// When the last look-up was asked for, if it still waits for a thread or runs.
    asked: Option<Instant>,
    is_queued: bool,
}

impl Name {
    fn known(&self, now: Instant) -> Option<&Answer> {
        self.known.as_ref().filter(|(_, until)| now < *until).map(|(answer, _)| answer)
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_none() && !self.is_queued
    }

    /// Whether callers that wait need one more look-up, with so many `threads` at work.
    fn needs_another(&self, threads: usize, now: Instant) -> bool {
        let Some(asked) = self.asked else { return self.running < LOOKUPS_PER_NAME };
        let is_hung = !self.is_queued && now.duration_since(asked) >= HUNG;
        is_hung && self.running < LOOKUPS_PER_NAME && threads < MAX_THREADS / 2
    }

    /// Takes the result of a look-up, and tells it to those who wait.
    fn finish(&mut self, answer: Answer, now: Instant) {
        let ttl = if answer.is_ok() { ANSWER_TTL } else { FAILURE_TTL };
        // A look-up that was overtaken may fail late: what is known stays.
        if answer.is_ok() || self.known(now).is_none() {
            self.known = Some((answer.clone(), now + ttl));
        }
        self.asked = None;
        if let Some(waiting) = self.waiting.take() {
            waiting.send_replace(Some(answer));
        }
    }
}

impl Table {
    /// Removes names until there is room for one more, as far as they are not in use.
    fn make_room(&mut self, now: Instant) {
        if self.names.len() < MAX_NAMES {
            return;
        }
        self.names.retain(|_, name| !name.is_idle() || name.known(now).is_some());
        if self.names.len() < MAX_NAMES {
            return;
        }
        let idle = self.names.iter().filter(|(_, name)| name.is_idle());
        let first = idle.min_by_key(|(_, name)| name.known.as_ref().map(|(_, until)| *until));
        if let Some(host) = first.map(|(host, _)| host.clone()) {
            self.names.remove(&host);
        }
    }

    /// The next name that somebody waits for.
    fn next(&mut self) -> Option<Arc<str>> {
        while let Some(host) = self.queue.pop_front() {
            let Some(name) = self.names.get_mut(&host) else { continue };
            name.is_queued = false;
            if name.waiting.as_ref().is_some_and(|waiting| waiting.receiver_count() > 0) {
                name.running += 1;
                return Some(host);
            }
            (name.waiting, name.asked) = (None, None);
        }
        None
    }
}

impl Resolver {
    fn new(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver(Arc::new(Inner { look_up: Box::new(look_up), table: Mutex::default() }))
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let answer = match self.ask(host) {
            Asked::Known(answer) => answer,
            Asked::Pending(mut answer) => {
                let answer = answer.wait_for(Option::is_some).await;
                // The sender leaves the table only by an answer, or without a receiver.
                let answer = answer.expect("an answer comes as long as it is waited for");
                answer.clone().expect("it was waited for")
            }
        };
        let with_port = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            address
        };
        answer.map(|addresses| addresses.iter().map(with_port).collect())
    }

    fn ask(&self, host: &str) -> Asked {
        let now = Instant::now();
        let mut guard = self.0.lock();
        let table = &mut *guard;
        if !table.names.contains_key(host) {
            table.make_room(now);
            table.names.insert(host.into(), Name::default());
        }
        let name = table.names.get_mut(host).expect("it was inserted");
        if let Some(answer) = name.known(now) {
            return Asked::Known(answer.clone());
        }
        let waiting = name.waiting.get_or_insert_with(|| watch::channel(None).0);
        let pending = waiting.subscribe();
        if name.needs_another(table.threads, now) {
            (name.asked, name.is_queued) = (Some(now), true);
            table.queue.push_back(host.into());
            if table.threads < MAX_THREADS {
                let resolver = self.0.clone();
                let work = move || resolver.work();
                match thread::Builder::new().name("resolver".to_owned()).spawn(work) {
                    Ok(_) => table.threads += 1,
                    // Those that run go on with the queue.
                    Err(_) if table.threads > 0 => {}
                    Err(error) => {
                        table.queue.clear();
                        name.is_queued = false;
                        name.finish(Err(ResolveError::new(&error)), now);
                    }
                }
            }
        }
        Asked::Pending(pending)
    }
}

enum Asked {
    Known(Answer),
    Pending(watch::Receiver<Option<Answer>>),
}

impl Inner {
    /// Looks up names, in a thread of its own, until none waits for it.
    fn work(&self) {
        let mut table = self.lock();
        while let Some(host) = table.next() {
            drop(table);
            let answer = match (self.look_up)(&host) {
                Ok(addresses) if addresses.is_empty() => {
                    Err(ResolveError::new(&io::Error::other("it has no address")))
                }
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err(ResolveError::new(&error)),
            };
            table = self.lock();
            if let Some(name) = table.names.get_mut(&host) {
                name.running -= 1;
                name.finish(answer, Instant::now());
            }
        }
        table.threads -= 1;
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tokio::{task::JoinSet, time::timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A resolver whose look-ups of names that begin with `hung` do not end before the
    /// returned sender is dropped, and the number of look-ups that have begun.
    fn resolver() -> (Resolver, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, hung) = mpsc::channel::<()>();
        let (hung, begun) = (Mutex::new(hung), Arc::new(AtomicUsize::new(0)));
        let count = begun.clone();
        let resolver = Resolver::new(move |host| {
            count.fetch_add(1, Ordering::SeqCst);
            if host.starts_with("hung") {
                hung.lock().unwrap().recv().ok();
            }
            match host.contains("unknown") {
                true => Err(io::Error::other(
                    "failed to lookup address information: Name or service not known",
                )),
                false => Ok(vec![address("[2001:db8::1]:0"), address("192.0.2.1:0")]),
            }
        });
        (resolver, release, begun)
    }

    async fn resolved(resolver: &Resolver, host: &str) -> Vec<SocketAddr> {
        timeout(PATIENCE, resolver.addresses(host, 7)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let (resolver, _release, begun) = resolver();
        assert_eq!(resolved(&resolver, "192.0.2.7").await, [address("192.0.2.7:7")]);
        assert_eq!(resolved(&resolver, "::1").await, [address("[::1]:7")]);
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn callers_share_one_look_up_which_goes_on_when_one_gives_up() {
        let (resolver, release, begun) = resolver();
        let impatient = timeout(Duration::from_millis(1), resolver.addresses("hung", 7));
        assert!(impatient.await.is_err());
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, "hung").await });
        }
        drop(release);
        for addresses in callers.join_all().await {
            assert_eq!(addresses, [address("[2001:db8::1]:7"), address("192.0.2.1:7")]);
        }
        resolved(&resolver, "hung").await;
        assert_eq!(begun.load(Ordering::SeqCst), 1, "the answer is kept");
    }

    #[tokio::test]
    async fn a_failure_is_told_in_words_and_kept_too() {
        let (resolver, _release, begun) = resolver();
        for _ in 0..2 {
            let error = resolver.addresses("unknown", 7).await.unwrap_err();
            assert_eq!(
                error.of_host("unknown").to_string(),
                "cannot resolve the host name \"unknown\": name or service not known"
            );
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn names_that_hang_take_a_bounded_number_of_threads_and_the_others_wait_for_one() {
        let (resolver, release, begun) = resolver();
        let mut callers = JoinSet::new();
        for number in 0..MAX_THREADS - 1 {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        resolved(&resolver, "in between").await;
        for number in MAX_THREADS..3 * MAX_THREADS {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        tokio::task::yield_now().await;
        assert!(begun.load(Ordering::SeqCst) <= MAX_THREADS + 1);
        drop(release);
        assert_eq!(callers.join_all().await.len(), 3 * MAX_THREADS - 1);
        assert!(resolver.0.lock().names.len() <= MAX_NAMES);
    }

    #[tokio::test]
    async fn a_name_that_nobody_waits_for_any_more_is_not_looked_up() {
        let (resolver, release, begun) = resolver();
        let mut callers = JoinSet::new();
        for number in 0..MAX_THREADS {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        while begun.load(Ordering::SeqCst) < MAX_THREADS {
            tokio::task::yield_now().await;
        }
        for number in 0..100 {
            let host = format!("left {number}");
            assert!(timeout(Duration::ZERO, resolver.addresses(&host, 7)).await.is_err());
        }
        drop(release);
        callers.join_all().await;
        assert_eq!(resolved(&resolver, "after").await.len(), 2);
        assert_eq!(begun.load(Ordering::SeqCst), MAX_THREADS + 1);
        assert!(resolver.0.lock().queue.is_empty());
    }

    #[tokio::test]
    async fn names_are_kept_up_to_a_number() {
        let (resolver, _release, _begun) = resolver();
        for number in 0..2 * MAX_NAMES {
            resolved(&resolver, &number.to_string().replace('0', "zero").replace('1', "x")).await;
        }
        assert!(resolver.0.lock().names.len() <= MAX_NAMES);
    }

    #[test]
    fn a_look_up_that_hangs_gets_one_more_beside_it() {
        let start = Instant::now();
        let mut name = Name::default();
        assert!(name.needs_another(0, start), "none is under way");
        (name.asked, name.is_queued) = (Some(start), true);
        assert!(!name.needs_another(0, start + HUNG), "it waits for a thread");
        (name.running, name.is_queued) = (1, false);
        assert!(!name.needs_another(1, start + HUNG / 2), "it may still end");
        assert!(name.needs_another(1, start + HUNG));
        assert!(!name.needs_another(MAX_THREADS / 2, start + HUNG), "others need the threads");
        (name.running, name.asked) = (LOOKUPS_PER_NAME, Some(start + HUNG));
        assert!(!name.needs_another(2, start + 9 * HUNG));
    }

    #[test]
    fn answers_are_kept_longer_than_failures_and_not_for_long() {
        let start = Instant::now();
        let failure = Err(ResolveError::new(&io::Error::other("temporary failure")));
        let mut name = Name::default();
        name.finish(failure.clone(), start);
        assert!(name.known(start).is_some());
        assert!(name.known(start + FAILURE_TTL).is_none());
        name.finish(Ok([address("192.0.2.1:0")].into()), start);
        name.finish(failure, start + FAILURE_TTL);
        assert!(name.known(start + FAILURE_TTL).unwrap().is_ok(), "it came late");
        assert!(name.known(start + ANSWER_TTL).is_none());
    }
}
