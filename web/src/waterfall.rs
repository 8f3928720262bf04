//! The times of one exchange by legs: the round trip over network, gateway and service, and apart
//! from it the page's own work. Only legs that exist and that were measured are shown.

use crate::{
    exchanges::{Exchange, GatewayLegs},
    time::Millis,
};

/// The hops of a connection, as far as the server's endpoints and its live list of connections
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops<'a> {
    /// A server other than the page's own, or a route that the server does not report.
    Unknown,
    /// A route to a service in the gateway's memory.
    InMemory {
        /// The service.
        service: &'a str,
    },
    /// A route to a service of this server, over a socket.
    Socket {
        /// The transport.
        transport: &'static str,
        /// The service.
        service: &'a str,
    },
    /// A route to a server elsewhere.
    Elsewhere {
        /// The server's URL.
        upstream: &'a str,
    },
}

/// A part of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The round trip, where nothing tells what it consists of.
    RoundTrip,
    /// Browser and network between the page's socket and the gateway.
    Network,
    /// The gateway.
    Gateway,
    /// The transport between the gateway and a service of this server.
    Transport(&'static str),
    /// A server elsewhere, and the network to it.
    Upstream(&'a str),
    /// The service.
    Service(&'a str),
    /// The page, apart from the round trip: from the user's command to the socket, and from the
    /// socket to the drawn reply.
    Page,
}

/// The time of a part, and its place in the exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg<'a> {
    /// The part.
    pub part: Part<'a>,
    /// The part's time in both directions, in microseconds.
    pub micros: f64,
    /// The resolution of the clock that measured the time, in microseconds: a shorter time is not 0.
    pub resolution: f64,
    /// The beginnings and ends of the leg's bars, in thousandths of the round trip.
    pub bars: Vec<(u32, u32)>,
}

/// An exchange by legs.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall<'a> {
    /// The legs: those of the round trip from the network to the service, then the page.
    pub legs: Vec<Leg<'a>>,
    /// From the message in the socket to the reply in the socket.
    pub round_trip: Millis,
    /// From the user's command to the drawn reply, once it is drawn.
    pub total: Option<Millis>,
}

/// The resolution of the server's clock as it is shown, in microseconds.
const SERVER_RESOLUTION: f64 = 1.0;

impl<'a> Waterfall<'a> {
    /// The legs of an exchange; `resolution` is that of the browser's clock. Legs inside another one
    /// are drawn in its middle, for only their sum in both directions is known.
    pub fn new(exchange: &Exchange, hops: Hops<'a>, resolution: Millis) -> Waterfall<'a> {
        // The page and its worker have clocks of their own: a difference may be negative.
        let between = |from: Millis, to: Millis| (to - from).max(0.0);
        let round_trip = between(exchange.sent, exchange.received);
        let (span, resolution) = (round_trip * 1000.0, resolution * 1000.0);
        let mut nest = Nest { legs: Vec::new(), total: span, start: 0.0, span };
        match exchange.gateway {
            Some(gateway) if hops != Hops::Unknown => {
                nest.server(&gateway, exchange.service, hops, resolution);
            }
            _ => nest.rest(Part::RoundTrip, resolution),
        }
        let mut legs = nest.legs;
        let page = exchange.asked.zip(exchange.drawn);
        if let Some((asked, drawn)) = page {
            let page = between(asked, exchange.sent) + between(exchange.received, drawn);
            let micros = page * 1000.0;
            legs.push(Leg { part: Part::Page, micros, resolution, bars: Vec::new() });
        }
        let total = page.map(|(asked, drawn)| between(asked, drawn));
        Waterfall { legs, round_trip, total }
    }
}

/// The legs so far, and the span of time inside the last one.
struct Nest<'a> {
    legs: Vec<Leg<'a>>,
    total: f64,
    start: f64,
    span: f64,
}

impl<'a> Nest<'a> {
    fn server(
        &mut self,
        gateway: &GatewayLegs,
        service: Option<f64>,
        hops: Hops<'a>,
        resolution: f64,
    ) {
        let GatewayLegs { up, upstream, down } = *gateway;
        self.around(Part::Network, up + upstream + down, None, resolution);
        self.around(Part::Gateway, upstream, Some(up), SERVER_RESOLUTION);
        match hops {
            Hops::InMemory { service } => self.rest(Part::Service(service), SERVER_RESOLUTION),
            Hops::Socket { transport, service: name } => {
                // A service that answers in several parts was measured at the last of them.
                match service.filter(|time| *time <= upstream) {
                    Some(time) => {
                        self.around(Part::Transport(transport), time, None, SERVER_RESOLUTION);
                        self.rest(Part::Service(name), SERVER_RESOLUTION);
                    }
                    None => self.rest(Part::Upstream(name), SERVER_RESOLUTION),
                }
            }
            Hops::Elsewhere { upstream } => {
                self.rest(Part::Upstream(upstream), SERVER_RESOLUTION);
            }
            Hops::Unknown => {}
        }
    }

    /// A leg around an inner span, which begins after `before` or else in the middle.
    fn around(&mut self, part: Part<'a>, inner: f64, before: Option<f64>, resolution: f64) {
        // The clocks of browser and server differ in resolution: the inner span may be longer.
        let micros = (self.span - inner).max(0.0);
        let inner = inner.min(self.span);
        let start = self.start + before.unwrap_or(micros / 2.0).min(micros);
        let bars =
            vec![self.bar(self.start, start), self.bar(start + inner, self.start + self.span)];
        self.legs.push(Leg { part, micros, resolution, bars });
        (self.start, self.span) = (start, inner);
    }

    /// A leg that takes all of the span.
    fn rest(&mut self, part: Part<'a>, resolution: f64) {
        let bars = vec![self.bar(self.start, self.start + self.span)];
        self.legs.push(Leg { part, micros: self.span, resolution, bars });
    }

    fn bar(&self, from: f64, to: f64) -> (u32, u32) {
        let total = self.total.max(f64::MIN_POSITIVE);
        let at = |time: f64| (time * 1000.0 / total).round().clamp(0.0, 1000.0) as u32;
        (at(from), at(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchanges::Position;
    use proptest::prelude::*;

    const SOCKET: Hops<'_> = Hops::Socket { transport: "TCP", service: "upper" };

    /// 1 ms until the socket sends, a round trip of 2 ms, and 7 ms until the reply is drawn.
    fn exchange(gateway: Option<(f64, f64, f64)>, service: Option<f64>) -> Exchange {
        Exchange {
            row: 0,
            asked: Some(1000.0),
            sent: 1001.0,
            received: 1003.0,
            drawn: Some(1010.0),
            position: Position::default(),
            gateway: gateway.map(|(up, upstream, down)| GatewayLegs { up, upstream, down }),
            service,
            is_paired: true,
        }
    }

    fn times<'a>(exchange: &Exchange, hops: Hops<'a>) -> Vec<(Part<'a>, f64)> {
        let waterfall = Waterfall::new(exchange, hops, 0.1);
        waterfall.legs.iter().map(|leg| (leg.part, leg.micros.round())).collect()
    }

    #[test]
    fn each_leg_has_its_time_and_its_place() {
        let exchange = exchange(Some((100.0, 800.0, 100.0)), Some(400.0));
        let waterfall = Waterfall::new(&exchange, SOCKET, 0.1);
        assert_eq!(
            times(&exchange, SOCKET),
            [
                (Part::Network, 1000.0),
                (Part::Gateway, 200.0),
                (Part::Transport("TCP"), 400.0),
                (Part::Service("upper"), 400.0),
                (Part::Page, 8000.0),
            ]
        );
        let bars: Vec<_> = waterfall.legs.iter().map(|leg| leg.bars.clone()).collect();
        assert_eq!(bars[0], [(0, 250), (750, 1000)]);
        assert_eq!(bars[1], [(250, 300), (700, 750)]);
        assert_eq!(bars[2], [(300, 400), (600, 700)]);
        assert_eq!(bars[3], [(400, 600)]);
        assert_eq!(bars[4], [], "the page is no part of the round trip");
        assert_eq!((waterfall.round_trip, waterfall.total), (2.0, Some(10.0)));
    }

    #[test]
    fn no_leg_is_shown_that_does_not_exist() {
        let measured = exchange(Some((10.0, 80.0, 10.0)), None);
        let parts = |exchange: &Exchange, hops| -> Vec<Part<'_>> {
            times(exchange, hops)
                .into_iter()
                .map(|(part, _)| part)
                .filter(|part| *part != Part::Page)
                .collect()
        };
        let memory = Hops::InMemory { service: "echo" };
        assert_eq!(parts(&measured, memory), [Part::Network, Part::Gateway, Part::Service("echo")]);
        let elsewhere = Hops::Elsewhere { upstream: "tcp://h:1" };
        let upstream = Part::Upstream("tcp://h:1");
        assert_eq!(parts(&measured, elsewhere), [Part::Network, Part::Gateway, upstream]);
        assert_eq!(parts(&measured, Hops::Unknown), [Part::RoundTrip]);
        assert_eq!(parts(&exchange(None, Some(5.0)), SOCKET), [Part::RoundTrip]);
        assert_eq!(parts(&measured, SOCKET)[2], Part::Upstream("upper"), "not measured yet");
        let last_part = exchange(Some((10.0, 80.0, 10.0)), Some(90.0));
        assert_eq!(parts(&last_part, SOCKET)[2], Part::Upstream("upper"));
    }

    #[test]
    fn a_reply_that_is_not_drawn_has_no_leg_of_the_page() {
        let exchange = Exchange { drawn: None, ..exchange(None, None) };
        let waterfall = Waterfall::new(&exchange, Hops::Unknown, 0.1);
        assert_eq!(waterfall.total, None);
        assert_eq!(waterfall.legs.len(), 1);
    }

    #[test]
    fn a_server_that_took_longer_than_the_browsers_clock_shows_leaves_no_negative_time() {
        let exchange = Exchange {
            sent: 1000.0,
            received: 1000.0,
            ..exchange(Some((5.0, 60.0, 5.0)), Some(20.0))
        };
        for (part, micros) in times(&exchange, SOCKET) {
            assert!(micros >= 0.0, "{part:?}: {micros}");
        }
    }

    proptest! {
        #[test]
        fn legs_add_up_to_the_total_and_bars_do_not_overlap(
            waits in prop::array::uniform3(0.0..50.0f64),
            shares in prop::array::uniform4(0.0..1.0f64),
        ) {
            let [before, trip, after] = waits;
            let server = trip * 1000.0 * shares[0];
            let upstream = server * shares[1];
            let up = (server - upstream) * shares[2];
            let exchange = Exchange {
                asked: Some(0.0),
                sent: before,
                received: before + trip,
                drawn: Some(before + trip + after),
                ..exchange(Some((up, upstream, server - upstream - up)), Some(upstream * shares[3]))
            };
            let waterfall = Waterfall::new(&exchange, SOCKET, 0.1);
            let sum: f64 = waterfall.legs.iter().map(|leg| leg.micros).sum();
            prop_assert!((sum - (before + trip + after) * 1000.0).abs() < 0.01);
            let mut bars: Vec<_> = waterfall.legs.iter().flat_map(|leg| leg.bars.clone()).collect();
            bars.sort_unstable();
            prop_assert!(bars.iter().all(|(from, to)| from <= to));
            prop_assert!(bars.windows(2).all(|two| two[0].1 <= two[1].0));
        }
    }
}
