//! How long to wait before a lost connection is made again.

use echogate_proto::{backoff, close::CloseCode};

use crate::{
    ending::{Ending, How},
    time::Millis,
};

/// The delay before reconnection attempt `attempt`, counted from 1.
pub fn wait(attempt: u32) -> Millis {
    backoff::delay(attempt, 0.0).as_secs_f64() * 1000.0
}

/// Whether it makes sense to try again after such an end: not where it was wanted, and not where
/// the answer would be the same.
pub fn is_worthwhile(ending: &Ending) -> bool {
    match ending.how {
        How::NotTried | How::CalledOff | How::ByUs | How::ByUsUnanswered => false,
        How::NotOpened | How::Broken => true,
        How::ByPeer => !matches!(ending.code, CloseCode::NORMAL | CloseCode::POLICY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        assert_eq!([1, 2, 3, 4].map(wait), [500.0, 1000.0, 2000.0, 4000.0]);
        assert_eq!([7, 100, u32::MAX].map(wait), [30_000.0; 3]);
    }

    #[test]
    fn what_was_wanted_or_would_be_refused_again_is_not_tried_again() {
        let ending = |how, code| Ending {
            how,
            code: CloseCode(code),
            reason: String::new(),
            unsent: 0,
            unanswered: 0,
        };
        for (how, code) in [(How::Broken, 1006), (How::NotOpened, 1006), (How::ByPeer, 1001)] {
            assert!(is_worthwhile(&ending(how, code)), "{how:?} {code}");
        }
        for (how, code) in [(How::ByUs, 1000), (How::ByPeer, 1000), (How::ByPeer, 1008)] {
            assert!(!is_worthwhile(&ending(how, code)), "{how:?} {code}");
        }
    }
}
