//! Limits that are reached, changed and waited for.

use super::*;

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.1";

fn enter(limits: &Arc<Limits>, ip: &str) -> Result<ConnectionPermit, LimitReached> {
    limits.enter(Some(ip.parse().unwrap()), None)
}

#[test]
fn an_ipv6_address_is_counted_as_its_network() {
    let limits = Arc::new(Limits::new(10, Some(1)));
    let _first = enter(&limits, "2001:db8:0:1::1").unwrap();
    let full = enter(&limits, "2001:db8:0:1:ffff::2").unwrap_err();
    assert_eq!(
        full.to_string(),
        "too many connections from 2001:db8:0:1::/64 (--max-per-address 1)"
    );
    let _other_network = enter(&limits, "2001:db8:0:2::1").unwrap();
    let _ipv4 = [enter(&limits, "192.0.2.1").unwrap(), enter(&limits, "192.0.2.2").unwrap()];
    let _link_local = [enter(&limits, "fe80::1").unwrap(), enter(&limits, "fe80::2").unwrap()];
    let _loopback = enter(&limits, "::1").unwrap();
    let full = enter(&limits, "fe80::1").unwrap_err().to_string();
    assert!(full.starts_with("too many connections from fe80::1 "), "{full}");
}

#[test]
fn an_address_is_counted_in_either_notation() {
    let limits = Arc::new(Limits::new(10, Some(1)));
    let permit = enter(&limits, THERE).unwrap();
    let full = LimitReached::Address(THERE.parse().unwrap(), 1);
    assert_eq!(enter(&limits, "::ffff:192.0.2.1").unwrap_err(), full);
    drop(permit);
    drop(enter(&limits, THERE).unwrap());
    assert!(limits.counts.lock().per_address.is_empty());
    assert_eq!(limits.left.available_permits(), 10, "a refused connection holds no permit");
}

#[test]
fn loopback_is_limited_only_by_a_configured_limit() {
    let limits = Arc::new(Limits::new(3000, None));
    let permits: Vec<_> = (0..2000).map(|_| enter(&limits, HERE).unwrap()).collect();
    let others: Vec<_> = (0..1000).map(|_| enter(&limits, THERE).unwrap()).collect();
    drop(permits);
    assert!(matches!(enter(&limits, THERE), Err(LimitReached::Address(_, 1000))));
    drop(others);
}

#[test]
fn a_route_has_a_limit_of_its_own() {
    let limits = Arc::new(Limits::new(10, None));
    let route = limits.route("/ws", Some(1));
    let ip = Some(HERE.parse().unwrap());
    let permit = limits.enter(ip, Some(&route)).unwrap();
    assert_eq!(limits.enter(ip, Some(&route)).unwrap_err(), LimitReached::Route(1));
    limits.enter(ip, Some(&limits.route("/other", Some(1)))).unwrap();
    drop(permit);
    limits.enter(ip, Some(&route)).unwrap();
}

#[test]
fn a_new_limit_of_a_route_counts_the_permits_that_are_held() {
    let limits = Arc::new(Limits::new(10, None));
    let free = limits.route("/ws", None);
    let permit = limits.enter(None, Some(&free)).unwrap();
    drop(free);
    let limited = limits.route("/ws", Some(1));
    assert_eq!(limits.enter(None, Some(&limited)).unwrap_err(), LimitReached::Route(1));
    drop((permit, limited));
    limits.route("/other", None);
    assert_eq!(
        limits.counts.lock().per_route.len(),
        1,
        "no route or connection refers to the first path any more"
    );
}

#[test]
fn a_limit_that_is_lowered_and_raised_is_right_at_every_step() {
    let limits = Arc::new(Limits::new(3, None));
    let mut permits: Vec<_> = (0..3).map(|_| enter(&limits, HERE).unwrap()).collect();
    limits.set(1, None);
    permits.pop();
    assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(1), "2 of 1");
    limits.set(2, None);
    assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(2), "2 of 2");
    limits.set(4, None);
    permits.extend((0..2).map(|_| enter(&limits, HERE).unwrap()));
    assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(4), "4 of 4");
    limits.set(1, None);
    limits.set(3, None);
    permits.truncate(2);
    let _third = enter(&limits, HERE).unwrap();
    assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(3), "3 of 3");
    assert_eq!(limits.counts.lock().excess, 0);
}

#[tokio::test]
async fn a_raised_limit_admits_waiting_connections_up_to_the_limit() {
    let limits = Arc::new(Limits::new(1, None));
    let permit = limits.acquire().await;
    let waiting = || {
        let limits = limits.clone();
        tokio::spawn(async move { limits.acquire().await })
    };
    let (first, second) = (waiting(), waiting());
    tokio::task::yield_now().await;
    limits.set(2, None);
    let first = first.await.unwrap();
    assert!(!second.is_finished());
    drop((permit, first));
    second.await.unwrap();
}
