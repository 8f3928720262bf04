//! The way of a byte: from this page through the gateway and over TCP to a service, and back,
//! with the time that each part of it took.

use echogate_proto::live::Legs;

use crate::time::Millis;

/// How long the parts of one exchange took, in microseconds, there and back together; `None`
/// where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// Browser and network between this page and the gateway: what is left of the round trip.
    pub page: Option<f64>,
    /// In the gateway, frames into bytes and bytes into frames.
    pub gateway: Option<f64>,
    /// Between gateway and service: what is left of the upstream's time.
    pub upstream: Option<f64>,
    /// In the service.
    pub service: Option<f64>,
}

impl Way {
    /// From what the page measured, and what the server did: of the WebSocket connection, and of
    /// the connection behind it.
    pub fn new(round_trip: Option<Millis>, bridge: Option<Legs>, behind: Option<Legs>) -> Way {
        let service = match behind {
            Some(Legs::Service { service }) => Some(service),
            _ => None,
        };
        let Some(Legs::Bridge { up, upstream, down }) = bridge else {
            return Way { service, ..Way::default() };
        };
        let server = up + upstream + down;
        Way {
            page: round_trip.map(|span| (span * 1000.0 - server).max(0.0)),
            gateway: Some(up + down),
            upstream: Some((upstream - service.unwrap_or(0.0)).max(0.0)),
            service,
        }
    }

    /// The parts in their order, from here to there.
    pub fn parts(&self) -> [Option<f64>; 4] {
        [self.page, self.gateway, self.upstream, self.service]
    }

    /// What part of the whole each takes, in thousandths; zeros if nothing is known.
    pub fn shares(&self) -> [u64; 4] {
        let parts = self.parts().map(|part| part.unwrap_or(0.0));
        let whole: f64 = parts.iter().sum();
        parts.map(|part| if whole > 0.0 { (part * 1000.0 / whole).round() as u64 } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGE: Legs = Legs::Bridge { up: 10.0, upstream: 80.0, down: 10.0 };

    #[test]
    fn what_is_left_of_the_whole_belongs_to_what_lies_between() {
        let service = Some(Legs::Service { service: 30.0 });
        let way = Way::new(Some(0.5), Some(BRIDGE), service);
        assert_eq!(way.parts(), [Some(400.0), Some(20.0), Some(50.0), Some(30.0)]);
        assert_eq!(way.shares(), [800, 40, 100, 60]);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        assert_eq!(Way::new(Some(0.5), None, None), Way::default());
        assert_eq!(Way::default().shares(), [0; 4]);
        let unknown_service = Way::new(None, Some(BRIDGE), None);
        assert_eq!(unknown_service.parts(), [None, Some(20.0), Some(80.0), None]);
    }

    #[test]
    fn clocks_that_disagree_make_no_negative_time() {
        let service = Some(Legs::Service { service: 90.0 });
        let way = Way::new(Some(0.0), Some(BRIDGE), service);
        assert_eq!((way.page, way.upstream), (Some(0.0), Some(0.0)));
    }
}
