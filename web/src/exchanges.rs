//! The latest exchanges of a connection with their times, from the user's command to the drawn
//! reply, and the legs that the server reports for some of them.

use std::collections::VecDeque;

use echogate_proto::api::Legs;

use crate::time::Millis;

/// A message and its reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchange {
    /// The row of the message.
    pub row: u64,
    /// The time at which the user sent the message; `None` if the messages were paired by a later
    /// rule, so that the page's own work was not measured.
    pub asked: Option<Millis>,
    /// The time at which the socket sent it.
    pub sent: Millis,
    /// The time at which the socket received the reply.
    pub received: Millis,
    /// The time at which the page had drawn the reply, once it has.
    pub drawn: Option<Millis>,
    /// The bytes sent over the connection up to the end of the message.
    pub position: Position,
    /// The time in the gateway, in microseconds, once the server has reported it.
    pub gateway: Option<GatewayLegs>,
    /// The time in the service behind the gateway, in microseconds, once the server has reported it.
    pub service: Option<f64>,
    /// Whether the present rule pairs the messages.
    pub is_paired: bool,
}

/// A position in the bytes sent over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Payload bytes.
    pub payload: u64,
    /// The same bytes with the framing `line`, which ends each message with a newline.
    pub lines: u64,
}

/// The times that the gateway measured, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatewayLegs {
    /// From reading the message to the beginning of its write to the upstream.
    pub up: f64,
    /// From there to reading the reply.
    pub upstream: f64,
    /// From there to the end of writing the reply.
    pub down: f64,
}

/// The latest exchanges in the order of their replies, those that were measured under earlier rules
/// included.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(VecDeque<Exchange>);

impl Exchange {
    fn is_undrawn(&self, since: Millis) -> bool {
        let is_measured = self.is_paired && self.asked.is_some();
        is_measured && self.drawn.is_none() && self.received >= since
    }
}

impl Position {
    /// Adds a message that was sent.
    pub fn add(&mut self, message: &[u8]) {
        self.payload += message.len() as u64;
        self.lines += message.len() as u64 + u64::from(!message.ends_with(b"\n"));
    }
}

impl Exchanges {
    /// The most exchanges.
    pub const MAX: usize = 1000;
    /// The time within which the server has reported the legs of an exchange.
    const REPORTED_WITHIN: Millis = 300.0;

    /// Adds an exchange, unless it was measured under an earlier rule.
    pub fn push(&mut self, exchange: Exchange) {
        let Exchange { row, received, .. } = exchange;
        let end = self.0.partition_point(|it| it.received <= received);
        let mut same_time = self.0.range_mut(..end).rev().take_while(|it| it.received == received);
        match same_time.find(|it| it.row == row) {
            Some(measured) => measured.is_paired = true,
            None => self.0.insert(end, exchange),
        }
        if self.0.len() > Self::MAX {
            self.0.pop_front();
        }
    }

    /// Prepares for another rule. Exchanges that the new rule pairs as well keep their measured times.
    pub fn unpair(&mut self) {
        for exchange in &mut self.0 {
            exchange.is_paired = false;
            // A reply that is not drawn now is drawn with the rows of the new rule, at no known time.
            exchange.asked = exchange.asked.filter(|_| exchange.drawn.is_some());
        }
        self.0.retain(|exchange| exchange.asked.is_some() || exchange.gateway.is_some());
    }

    /// Removes the exchanges of connections that ended before this time.
    pub fn drop_before(&mut self, opened: Millis) {
        self.0.retain(|exchange| exchange.received >= opened);
    }

    /// The exchange whose message is in this row, if it is among the latest.
    pub fn of_row(&self, row: u64) -> Option<&Exchange> {
        self.paired().find(|exchange| exchange.row == row)
    }

    /// The latest exchange. The server reports legs ten times a second: in a stream of messages the
    /// latest exchange with legs is returned, and the time until which it counts as recent.
    pub fn latest(&self, now: Millis) -> (Option<&Exchange>, Option<Millis>) {
        let latest = self.paired().next();
        let is_new = |exchange: &Exchange| now < exchange.received + Self::REPORTED_WITHIN;
        if latest.is_some_and(|latest| latest.gateway.is_none() && is_new(latest))
            && let Some(measured) = self.paired().find(|it| it.gateway.is_some())
            && is_new(measured)
        {
            return (Some(measured), Some(measured.received + Self::REPORTED_WITHIN));
        }
        (latest, None)
    }

    /// Whether there is a reply, received since this time, that has not been drawn.
    pub fn has_undrawn(&self, since: Millis) -> bool {
        self.0.back().is_some_and(|exchange| exchange.is_undrawn(since))
    }

    /// Records that the page has drawn all replies that were received since this time.
    pub fn drawn(&mut self, since: Millis, now: Millis) {
        let undrawn = self.0.iter_mut().rev().take_while(|exchange| exchange.is_undrawn(since));
        undrawn.for_each(|exchange| exchange.drawn = Some(now));
    }

    /// Records legs that the server reported: those of the page's connection, or those of the
    /// connection behind the gateway, to which each message goes as a line if `as_lines`.
    pub fn reported(&mut self, legs: Legs, as_lines: bool) {
        let is_reported = |exchange: &&mut Exchange| match legs {
            Legs::Bridge { received, .. } => exchange.position.payload == received,
            Legs::Service { received, .. } if as_lines => exchange.position.lines == received,
            Legs::Service { received, .. } => exchange.position.payload == received,
        };
        let Some(exchange) = self.0.iter_mut().rev().find(is_reported) else { return };
        match legs {
            Legs::Bridge { up, upstream, down, .. } => {
                exchange.gateway = Some(GatewayLegs { up, upstream, down });
            }
            Legs::Service { service, .. } => exchange.service = Some(service),
        }
    }

    /// The exchanges of the present rule, latest first.
    fn paired(&self) -> impl Iterator<Item = &Exchange> {
        self.0.iter().rev().filter(|exchange| exchange.is_paired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(row: u64, message: &[u8], before: Position) -> Exchange {
        let mut position = before;
        position.add(message);
        Exchange {
            row,
            asked: Some(0.0),
            sent: 1.0,
            received: 2.0,
            drawn: None,
            position,
            gateway: None,
            service: None,
            is_paired: true,
        }
    }

    fn three() -> Exchanges {
        let mut exchanges = Exchanges::default();
        let mut before = Position::default();
        for (row, message) in [(3, &b"a"[..]), (4, b"bb\n"), (7, b"c")] {
            exchanges.push(exchange(row, message, before));
            before.add(message);
        }
        exchanges
    }

    #[test]
    fn reported_legs_belong_to_the_exchange_at_their_position() {
        let mut exchanges = three();
        exchanges.reported(Legs::Bridge { up: 1.0, upstream: 9.0, down: 2.0, received: 4 }, false);
        exchanges.reported(Legs::Service { service: 5.0, received: 4 }, false);
        exchanges.reported(Legs::Service { service: 6.0, received: 2 }, false);
        let times = |row| exchanges.of_row(row).map(|it| (it.gateway.is_some(), it.service));
        assert_eq!(times(3), Some((false, None)));
        assert_eq!(times(4), Some((true, Some(5.0))));
        assert_eq!(times(7), Some((false, None)));
        assert_eq!(times(5), None);
    }

    #[test]
    fn the_service_of_lines_counts_the_newlines_that_the_gateway_adds() {
        let mut exchanges = three();
        exchanges.reported(Legs::Service { service: 5.0, received: 7 }, true);
        assert_eq!(exchanges.of_row(7).and_then(|it| it.service), Some(5.0));
    }

    #[test]
    fn replies_are_drawn_once() {
        let mut exchanges = three();
        exchanges.drawn(0.0, 5.0);
        assert!(!exchanges.has_undrawn(0.0));
        exchanges.push(exchange(8, b"d", Position::default()));
        assert!(!exchanges.has_undrawn(3.0), "nobody saw that connection then");
        assert!(exchanges.has_undrawn(0.0));
        exchanges.drawn(0.0, 9.0);
        let drawn: Vec<_> = exchanges.0.iter().map(|it| it.drawn).collect();
        assert_eq!(drawn, [Some(5.0), Some(5.0), Some(5.0), Some(9.0)]);
    }

    #[test]
    fn in_a_stream_the_latest_exchange_with_legs_is_shown() {
        let mut exchanges = three();
        let row = |exchanges: &Exchanges, now| exchanges.latest(now).0.map(|it| it.row);
        assert_eq!(row(&exchanges, 3.0), Some(7), "none has legs");
        exchanges.reported(Legs::Bridge { up: 1.0, upstream: 9.0, down: 2.0, received: 4 }, false);
        assert_eq!(row(&exchanges, 3.0), Some(4));
        assert_eq!(row(&exchanges, 400.0), Some(7), "the stream has ended");
        assert_eq!(exchanges.latest(3.0).1, Some(302.0));
    }

    #[test]
    fn the_oldest_exchanges_are_dropped() {
        let mut exchanges = Exchanges::default();
        for row in 0..=Exchanges::MAX as u64 {
            exchanges.push(exchange(row, b"a", Position::default()));
        }
        assert_eq!(exchanges.of_row(0), None);
        assert_eq!(exchanges.latest(0.0).0.map(|it| it.row), Some(Exchanges::MAX as u64));
    }
}
