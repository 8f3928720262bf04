//! A TCP connection to one of a host's addresses, by Happy Eyeballs (RFC 8305): an address
//! that does not answer delays those behind it by a quarter of a second, and no more.

use std::{io, net::SocketAddr, time::Duration};

use echogate_proto::endpoint::HostPort;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::resolve::{self, ResolveError};

/// How long an attempt may be alone before the next begins beside it (RFC 8305 section 5,
/// "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Why no address of a host was connected to.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The host's name has no address.
    Unresolved(ResolveError),
    /// The resolver did not answer in time.
    ResolverTimedOut,
    /// Not all addresses failed before the time was over.
    TimedOut,
    /// All of `tried` addresses failed.
    Failed {
        /// How many addresses the host has.
        tried: usize,
        /// The failure that tells the most.
        cause: io::Error,
    },
}

/// Connects to a host until `deadline`: to its addresses in turn, the next one beginning
/// when the last has failed or not answered for [`ATTEMPT_DELAY`]. The first that accepts is
/// taken; attempts at others are given up.
///
/// # Errors
///
/// The resolver's; otherwise the failure that tells the most, when all addresses have
/// failed.
pub(crate) async fn connect(at: &HostPort, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let addresses = timeout_at(deadline, resolve::addresses(at)).await;
    let addresses = addresses.map_err(|_| ConnectError::ResolverTimedOut)?;
    let addresses = interleaved(addresses.map_err(ConnectError::Unresolved)?);
    let tried = addresses.len();
    match timeout_at(deadline, race(addresses, TcpStream::connect)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(failures)) => Err(ConnectError::Failed { tried, cause: most_telling(failures) }),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

/// The addresses with families by turns, beginning with that of the first (RFC 8305
/// section 4): a family that does not work costs one attempt, and not one for each of its
/// addresses.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(preferred) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == preferred);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}

/// Makes attempts at `addresses` in turn until one succeeds.
///
/// # Errors
///
/// Each address's, in the order in which they came.
async fn race<T, A>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> A,
) -> Result<T, Vec<io::Error>>
where
    A: Future<Output = io::Result<T>>,
{
    let mut failures = Vec::new();
    let mut waiting = addresses.into_iter();
    let mut attempts: FuturesUnordered<A> = waiting.next().map(&connect).into_iter().collect();
    loop {
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => failures.push(error),
                None => return Err(failures),
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
        attempts.extend(waiting.next().map(&connect));
    }
}

/// The failure that tells the most: of a host that answered rather than of a network that
/// this machine has no way to.
fn most_telling(failures: Vec<io::Error>) -> io::Error {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};

    let rank = |error: &io::Error| match error.kind() {
        AddrNotAvailable | NetworkUnreachable => 2,
        HostUnreachable => 1,
        _ => 0,
    };
    let told = failures.into_iter().min_by_key(rank);
    told.unwrap_or_else(|| io::Error::other("the host name has no address"))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        for (given, expected) in [
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"][..],
                "[::1]:1 1.0.0.1:1 [::2]:1 1.0.0.2:1 [::3]:1",
            ),
            (&["1.0.0.1:1", "[::1]:1", "[::2]:1"], "1.0.0.1:1 [::1]:1 [::2]:1"),
            (&["1.0.0.2:1", "1.0.0.1:1"], "1.0.0.2:1 1.0.0.1:1"),
            (&[], ""),
        ] {
            let order = interleaved(addresses(given));
            let order: Vec<_> = order.iter().map(SocketAddr::to_string).collect();
            assert_eq!(order.join(" "), expected);
        }
    }

    /// Races attempts that take so many milliseconds and then succeed or not; tells when
    /// each began, and how it ended.
    async fn raced(attempts: &[(u64, bool)]) -> (Vec<u64>, Result<u16, usize>, u64) {
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let elapsed = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let addresses = (0..attempts.len()).map(|n| SocketAddr::from(([127, 0, 0, 1], n as u16)));
        let connect = async |address: SocketAddr| {
            begun.borrow_mut().push(elapsed());
            let (takes, succeeds) = attempts[usize::from(address.port())];
            sleep(Duration::from_millis(takes)).await;
            succeeds
                .then_some(address.port())
                .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        };
        let raced = race(addresses.collect(), connect).await.map_err(|failures| failures.len());
        (begun.take(), raced, elapsed())
    }

    const NEVER: u64 = 1 << 40;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_delays_the_next_and_no_more() {
        let (begun, raced, took) = raced(&[(NEVER, true), (NEVER, true), (5, true)]).await;
        assert_eq!((raced, took), (Ok(2), 505));
        assert_eq!(begun, [0, 250, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_begins_at_once() {
        let (begun, raced, took) = raced(&[(1, false), (1, false), (300, true), (10, false)]).await;
        assert_eq!((raced, took), (Ok(2), 302));
        assert_eq!(begun, [0, 1, 2, 252]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_accepts_is_taken_even_if_it_began_first() {
        let (begun, raced, took) = raced(&[(400, true), (NEVER, true), (NEVER, true)]).await;
        assert_eq!((raced, took), (Ok(0), 400));
        assert_eq!(begun, [0, 250]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_fails_when_all_have_failed() {
        assert_eq!(raced(&[(300, false), (10, false), (1, false)]).await.1, Err(3));
        assert_eq!(raced(&[]).await.1, Err(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_all_addresses_is_the_callers() {
        let all = addresses(&["127.0.0.1:1", "127.0.0.1:2"]);
        let race = race::<(), _>(all, |_| pending());
        assert!(timeout_at(Instant::now() + Duration::from_secs(9), race).await.is_err());
    }

    #[test]
    fn the_failure_that_is_told_is_of_a_host_that_answered() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};

        let told = |kinds: &[io::ErrorKind]| {
            most_telling(kinds.iter().map(|kind| io::Error::from(*kind)).collect()).kind()
        };
        assert_eq!(told(&[NetworkUnreachable, ConnectionRefused]), ConnectionRefused);
        assert_eq!(told(&[HostUnreachable, NetworkUnreachable]), HostUnreachable);
        assert_eq!(told(&[TimedOut, ConnectionRefused]), TimedOut);
        assert_eq!(told(&[]), io::ErrorKind::Other);
    }
}
