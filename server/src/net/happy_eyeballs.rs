//! TCP connections to hosts with several addresses, by Happy Eyeballs (RFC 8305): an address that
//! does not answer delays the next one by a quarter of a second.

use std::{io, net::SocketAddr, time::Duration};

use echogate_proto::endpoint::HostPort;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout_at},
};

use super::resolve::{self, ResolveError};
use crate::{connections::limits::descriptors::outside_reserve, text::io_error::describe};

/// The time between the start of an attempt and the start of the next one beside it (RFC 8305
/// section 5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The error of a connection attempt to a host.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The host name cannot be resolved.
    Unresolved(ResolveError),
    /// The resolver did not answer before the deadline.
    ResolverTimedOut,
    /// No address accepted before the deadline, and some did not answer.
    TimedOut,
    /// All addresses failed.
    Failed {
        /// The number of addresses that were tried.
        tried: usize,
        /// The most significant failure.
        cause: io::Error,
    },
}

/// Restrictions on a connection: which addresses of the host are tried, and the local address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectOptions {
    /// Only addresses of this family are tried.
    pub(crate) family: Option<Family>,
    /// The local address. Only addresses of its family are tried.
    pub(crate) source: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl ConnectOptions {
    /// The addresses that may be tried.
    ///
    /// # Errors
    ///
    /// No address may be tried.
    pub(crate) fn select(self, mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let name = |is_ipv4| if is_ipv4 { "IPv4" } else { "IPv6" };
        if let Some(family) = self.family {
            let is_ipv4 = family == Family::V4;
            addresses.retain(|address| address.is_ipv4() == is_ipv4);
            if addresses.is_empty() {
                let reason = format!("the host has no {} address", name(is_ipv4));
                return Err(io::Error::other(reason));
            }
        }
        if let Some(source) = self.source {
            addresses.retain(|address| address.is_ipv4() == source.is_ipv4());
            if addresses.is_empty() {
                let (ip, family) = (source.ip(), name(source.is_ipv4()));
                return Err(io::Error::other(format!(
                    "the source address {ip} is of another family than the target, which has no \
                     {family} address"
                )));
            }
        }
        Ok(addresses)
    }

    async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        tracing::debug!("trying {address}");
        let connected = connect_from(self.source, address).await;
        match &connected {
            Ok(stream) => match stream.local_addr() {
                Ok(local) => tracing::debug!("connected to {address} from {local}"),
                Err(_) => tracing::debug!("connected to {address}"),
            },
            Err(error) => tracing::debug!("{address}: {}", describe(error)),
        }
        connected
    }
}

async fn connect_from(source: Option<SocketAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let socket = outside_reserve(socket)?;
    if let Some(source) = source {
        // Permits a port on which there are connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(source).map_err(|error| of_source(source, &error))?;
    }
    socket.connect(address).await
}

/// An error of bind(2), with the address.
pub(crate) fn of_source(source: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("source address {source}: {}", describe(error)))
}

/// Connects to a host before `deadline`. The attempt at the next address starts when the last one
/// has failed or has not answered for [`ATTEMPT_DELAY`]. The first connection wins; the other
/// attempts are cancelled.
///
/// # Errors
///
/// See [`ConnectError`].
pub(crate) async fn connect(
    at: &HostPort,
    options: ConnectOptions,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let addresses = timeout_at(deadline, resolve::addresses(at)).await;
    let addresses = addresses.map_err(|_| ConnectError::ResolverTimedOut)?;
    let addresses = addresses.map_err(ConnectError::Unresolved)?;
    let selected = options.select(addresses);
    let addresses = selected.map_err(|cause| ConnectError::Failed { tried: 0, cause })?;
    let addresses = interleaved(addresses);
    let tried = addresses.len();
    match timeout_at(deadline, race(addresses, |address| options.connect(address))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(failures)) => Err(ConnectError::Failed { tried, cause: most_significant(failures) }),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

/// Reorders addresses so that the families alternate, starting with the first address (RFC 8305
/// section 4): a family without connectivity then costs one attempt instead of one per address.
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

/// Starts the attempts at `addresses` and returns the first success.
///
/// # Errors
///
/// The failures of all addresses, in the order in which they occurred.
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

/// The most significant failure: one of a host that answered takes precedence over one of a network
/// without a route.
fn most_significant(failures: Vec<io::Error>) -> io::Error {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};

    let rank = |error: &io::Error| match error.kind() {
        AddrNotAvailable | NetworkUnreachable => 2,
        HostUnreachable => 1,
        _ => 0,
    };
    let most_significant = failures.into_iter().min_by_key(rank);
    most_significant.unwrap_or_else(|| io::Error::other("the host name has no address"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_family_and_a_source_restrict_the_addresses() {
        let all = || addresses(&["[::1]:1", "1.0.0.1:1"]);
        let select = |family, source: Option<&str>| {
            let source = source.map(|source| source.parse().unwrap());
            let selected = ConnectOptions { family, source }.select(all());
            selected.map_err(|error| error.to_string())
        };
        assert_eq!(select(None, None), Ok(all()));
        assert_eq!(select(Some(Family::V4), None), Ok(addresses(&["1.0.0.1:1"])));
        assert_eq!(select(None, Some("[::1]:0")), Ok(addresses(&["[::1]:1"])));
        let error = select(Some(Family::V4), Some("[::1]:0")).unwrap_err();
        assert!(error.starts_with("the source address ::1 is of another family"), "{error}");
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

    /// Races attempts, each given by its duration in milliseconds and whether it succeeds. Returns
    /// their start times, the result, and its time.
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
    async fn an_attempt_begins_after_a_failure_or_the_delay_and_the_first_connection_wins() {
        type Case = (&'static [(u64, bool)], &'static [u64], Result<u16, usize>, u64);
        let cases: [Case; 5] = [
            (&[(NEVER, true), (NEVER, true), (5, true)], &[0, 250, 500], Ok(2), 505),
            (&[(1, false), (1, false), (300, true), (9, false)], &[0, 1, 2, 252], Ok(2), 302),
            (&[(400, true), (NEVER, true), (NEVER, true)], &[0, 250], Ok(0), 400),
            (&[(300, false), (10, false), (1, false)], &[0, 250, 260], Err(3), 300),
            (&[], &[], Err(0), 0),
        ];
        for (attempts, begun, result, took) in cases {
            assert_eq!(raced(attempts).await, (begun.to_vec(), result, took), "{attempts:?}");
        }
    }

    #[test]
    fn a_failure_of_a_host_that_answered_is_reported() {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};

        let reported = |kinds: &[io::ErrorKind]| {
            most_significant(kinds.iter().map(|kind| io::Error::from(*kind)).collect()).kind()
        };
        assert_eq!(reported(&[NetworkUnreachable, ConnectionRefused]), ConnectionRefused);
        assert_eq!(reported(&[HostUnreachable, NetworkUnreachable]), HostUnreachable);
        assert_eq!(reported(&[TimedOut, ConnectionRefused]), TimedOut);
        assert_eq!(reported(&[]), io::ErrorKind::Other);
    }
}
