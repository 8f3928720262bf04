//! The latency of a round trip by legs: from this page through the gateway and over TCP to a
//! service, and back.

use echogate_proto::api::Legs;

use crate::time::Millis;

/// The time of each leg of one round trip, in microseconds, both directions together; `None`
/// where it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatencyPath {
    /// Browser and network between page and gateway: the rest of the round trip.
    pub page: Option<f64>,
    /// The gateway, which turns frames into bytes and bytes into frames.
    pub gateway: Option<f64>,
    /// Between gateway and service: the rest of the upstream's time.
    pub upstream: Option<f64>,
    /// The service.
    pub service: Option<f64>,
}

impl LatencyPath {
    /// Splits a round trip that the page measured by the legs that the server measured on the
    /// WebSocket connection (`bridge`) and on the connection that it opened (`upstream`).
    pub fn new(
        round_trip: Option<Millis>,
        bridge: Option<Legs>,
        upstream: Option<Legs>,
    ) -> LatencyPath {
        let service = match upstream {
            Some(Legs::Service { service, .. }) => Some(service),
            _ => None,
        };
        let Some(Legs::Bridge { up, upstream, down, .. }) = bridge else {
            return LatencyPath { service, ..LatencyPath::default() };
        };
        let server = up + upstream + down;
        LatencyPath {
            page: round_trip.map(|span| (span * 1000.0 - server).max(0.0)),
            gateway: Some(up + down),
            upstream: Some((upstream - service.unwrap_or(0.0)).max(0.0)),
            service,
        }
    }

    /// The legs in order, from the page to the service.
    pub fn legs(&self) -> [Option<f64>; 4] {
        [self.page, self.gateway, self.upstream, self.service]
    }

    /// Each leg's share of the total, in thousandths; zeros if nothing is known.
    pub fn shares(&self) -> [u64; 4] {
        let legs = self.legs().map(|leg| leg.unwrap_or(0.0));
        let total: f64 = legs.iter().sum();
        legs.map(|leg| if total > 0.0 { (leg * 1000.0 / total).round() as u64 } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGE: Legs = Legs::Bridge { up: 10.0, upstream: 80.0, down: 10.0, received: 1 };

    #[test]
    fn the_rest_of_a_measured_time_belongs_to_the_leg_in_between() {
        let service = Some(Legs::Service { service: 30.0, received: 1 });
        let path = LatencyPath::new(Some(0.5), Some(BRIDGE), service);
        assert_eq!(path.legs(), [Some(400.0), Some(20.0), Some(50.0), Some(30.0)]);
        assert_eq!(path.shares(), [800, 40, 100, 60]);
    }

    #[test]
    fn unknown_legs_are_not_invented() {
        assert_eq!(LatencyPath::new(Some(0.5), None, None), LatencyPath::default());
        assert_eq!(LatencyPath::default().shares(), [0; 4]);
        let unknown_service = LatencyPath::new(None, Some(BRIDGE), None);
        assert_eq!(unknown_service.legs(), [None, Some(20.0), Some(80.0), None]);
    }

    #[test]
    fn clocks_that_disagree_give_no_negative_time() {
        let service = Some(Legs::Service { service: 90.0, received: 1 });
        let path = LatencyPath::new(Some(0.0), Some(BRIDGE), service);
        assert_eq!((path.page, path.upstream), (Some(0.0), Some(0.0)));
    }
}
