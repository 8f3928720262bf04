//! Resolution of host names by the system's resolver (getaddrinfo) with a short-lived cache.
//!
//! getaddrinfo blocks its thread until a name server answers, so look-ups run on a bounded number
//! of threads of their own:
//!
//! - All callers that ask for a name share one look-up. It goes on when one of them gives up.
//! - If a look-up has not ended after [`cache::HUNG`], the next caller starts a second one, up to
//!   [`cache::LOOKUPS_PER_NAME`].
//! - All names together have [`cache::MAX_THREADS`] threads; further names are queued. Names whose last
//!   look-up hung leave half of the threads to others, and new names a quarter to those that were
//!   answered ([`cache::History`]).
//! - Answers are kept for [`cache::ANSWER_TTL`], failures for [`cache::FAILURE_TTL`].

mod cache;

use std::{
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock},
    thread,
    time::Instant,
};

use echogate_proto::{endpoint::HostPort, reason};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::cache::{Answer, Name, Table};
use crate::text::{escape::escape, io_error};

/// Resolves a host to addresses in the system's order of preference.
///
/// Dropping the future does not end the look-up: other callers may wait for it.
///
/// # Errors
///
/// The error of the look-up.
pub(crate) async fn addresses(at: &HostPort) -> Result<Vec<SocketAddr>, ResolveError> {
    static SYSTEM: LazyLock<Resolver> =
        LazyLock::new(|| Resolver::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));
    let resolved = SYSTEM.addresses(&at.host, at.port).await;
    if tracing::enabled!(tracing::Level::DEBUG) && at.host.parse::<IpAddr>().is_err() {
        match &resolved {
            Ok(addresses) => tracing::debug!("{} resolved to {addresses:?}", escape(&at.host)),
            Err(error) => tracing::debug!("{} not resolved: {error}", escape(&at.host)),
        }
    }
    resolved
}

/// A failed look-up, in the system's words. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct ResolveError(Arc<str>);

impl ResolveError {
    fn new(error: &io::Error) -> ResolveError {
        // The standard library prefixes "failed to lookup address information: ".
        let text = error.to_string();
        let cause = io::Error::other(text.rsplit(": ").next().unwrap_or_default());
        ResolveError(io_error::describe(&cause).into())
    }

    /// The error as an I/O error that names the host.
    pub(crate) fn of_host(&self, host: &str) -> io::Error {
        let host = escape(host);
        io::Error::other(format!("cannot resolve the host name \"{host}\": {self}"))
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResolveError {}

/// A blocking look-up of a name. The ports of the addresses are ignored.
type LookUp = Box<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A resolver with its cache. Clones share both.
#[derive(Clone)]
struct Resolver(Arc<Inner>);

struct Inner {
    look_up: LookUp,
    table: Mutex<Table>,
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
                // The sender is dropped only after an answer, or when it has no receiver.
                let answer = answer.expect("an answer is sent while there is a receiver");
                answer.clone().expect("wait_for has seen an answer")
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
        let mut guard = self.0.table.lock();
        let table = &mut *guard;
        if !table.names.contains_key(host) {
            table.make_room(now);
            table.names.insert(host.into(), Name::default());
        }
        let name = table.names.get_mut(host).expect("the name was inserted above");
        if let Some(answer) = name.known(now) {
            return Asked::Known(answer.clone());
        }
        let waiting = name.waiting.get_or_insert_with(|| watch::channel(None).0);
        let pending = waiting.subscribe();
        if let Some(history) = name.queue_another(now) {
            table.queues[history as usize].push_back(host.into());
            if table.threads < history.max_threads() {
                let resolver = self.0.clone();
                let work = move || resolver.work();
                match thread::Builder::new().name("resolver".to_owned()).spawn(work) {
                    Ok(_) => table.threads += 1,
                    // The running threads work off the queue.
                    Err(_) if table.threads > 0 => {}
                    Err(error) => {
                        table.queues.iter_mut().for_each(VecDeque::clear);
                        name.is_queued = false;
                        name.finish(Err(ResolveError::new(&error)), now, now);
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
    /// Looks up queued names until the queue is empty. Runs on a thread of its own.
    fn work(&self) {
        let mut table = self.table.lock();
        while let Some(host) = table.next(Instant::now()) {
            drop(table);
            let begun = Instant::now();
            let answer = match (self.look_up)(&host) {
                Ok(addresses) if addresses.is_empty() => {
                    Err(ResolveError::new(&io::Error::other(reason::NO_ADDRESS)))
                }
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err(ResolveError::new(&error)),
            };
            table = self.table.lock();
            table.finish(&host, answer, begun, Instant::now());
        }
        table.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use tokio::{task::JoinSet, time::timeout};

    use super::{
        cache::{MAX_NAMES, MAX_THREADS},
        *,
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    /// The threads of new names that hang.
    const HUNG_THREADS: usize = MAX_THREADS / 4 * 3;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A resolver whose look-ups of names that begin with `hung` block until the returned sender is
    /// dropped, and a counter of started look-ups.
    fn resolver() -> (Resolver, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, hung) = mpsc::channel::<()>();
        let (hung, begun) = (Mutex::new(hung), Arc::new(AtomicUsize::new(0)));
        let count = begun.clone();
        let resolver = Resolver::new(move |host| {
            count.fetch_add(1, Ordering::SeqCst);
            if host.starts_with("hung") {
                hung.lock().recv().ok();
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
    async fn a_failure_is_described_and_cached() {
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
    async fn hung_names_take_a_bounded_number_of_threads_and_others_wait_for_one() {
        let (resolver, release, begun) = resolver();
        let mut callers = JoinSet::new();
        for number in 0..HUNG_THREADS - 1 {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        resolved(&resolver, "in between").await;
        for number in HUNG_THREADS..2 * HUNG_THREADS {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        tokio::task::yield_now().await;
        assert!(begun.load(Ordering::SeqCst) <= HUNG_THREADS + 1);
        drop(release);
        assert_eq!(callers.join_all().await.len(), 2 * HUNG_THREADS - 1);
        assert!(resolver.0.table.lock().names.len() <= MAX_NAMES);
    }

    #[tokio::test]
    async fn a_new_name_is_looked_up_while_more_than_64_others_hang() {
        let (resolver, release, _begun) = resolver();
        let mut callers = JoinSet::new();
        for number in 0..90 {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        while resolver.0.table.lock().names.len() < 90 {
            tokio::task::yield_now().await;
        }
        assert_eq!(resolved(&resolver, "in between").await.len(), 2);
        drop(release);
        callers.join_all().await;
    }

    #[tokio::test]
    async fn a_queued_name_without_callers_is_not_looked_up() {
        let (resolver, release, begun) = resolver();
        let mut callers = JoinSet::new();
        for number in 0..HUNG_THREADS {
            let resolver = resolver.clone();
            callers.spawn(async move { resolved(&resolver, &format!("hung {number}")).await });
        }
        while begun.load(Ordering::SeqCst) < HUNG_THREADS {
            tokio::task::yield_now().await;
        }
        for number in 0..100 {
            let host = format!("left {number}");
            assert!(timeout(Duration::ZERO, resolver.addresses(&host, 7)).await.is_err());
        }
        drop(release);
        callers.join_all().await;
        assert_eq!(resolved(&resolver, "after").await.len(), 2);
        assert_eq!(begun.load(Ordering::SeqCst), HUNG_THREADS + 1);
        assert!(resolver.0.table.lock().queues.iter().all(VecDeque::is_empty));
    }

    #[tokio::test]
    async fn the_cache_is_bounded() {
        let (resolver, _release, _begun) = resolver();
        for number in 0..2 * MAX_NAMES {
            resolved(&resolver, &number.to_string().replace('0', "zero").replace('1', "x")).await;
        }
        assert!(resolver.0.table.lock().names.len() <= MAX_NAMES);
    }
}
