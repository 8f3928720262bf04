//! The wait before a lost connection is opened again.

use echogate_proto::{backoff, close::CloseCode};

use crate::{
    close_reason::{CloseReason, Outcome},
    time::Millis,
};

/// The wait before an attempt, numbered from 1; `jitter` is a random number from 0 to 1.
pub fn wait(attempt: u32, jitter: f64) -> Millis {
    backoff::delay(attempt, jitter).as_secs_f64() * 1000.0
}

/// Whether a new attempt makes sense: not after an end by the user, and not where the server would
/// answer the same again.
pub fn is_worthwhile(cause: &CloseReason) -> bool {
    match cause.outcome {
        Outcome::Rejected
        | Outcome::Cancelled
        | Outcome::ClosedHere
        | Outcome::ClosedHereUnanswered => false,
        Outcome::NotOpened | Outcome::Lost => true,
        Outcome::ClosedByPeer => !matches!(cause.code, CloseCode::NORMAL | CloseCode::POLICY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_the_user_or_a_refusal_for_good_is_not_tried_again() {
        let cause = |outcome, code| CloseReason {
            outcome,
            url: String::new(),
            code: CloseCode(code),
            reason: String::new(),
            unsent: 0,
            unanswered: 0,
        };
        for (outcome, code) in
            [(Outcome::Lost, 1006), (Outcome::NotOpened, 1006), (Outcome::ClosedByPeer, 1001)]
        {
            assert!(is_worthwhile(&cause(outcome, code)), "{outcome:?} {code}");
        }
        for (outcome, code) in [
            (Outcome::ClosedHere, 1000),
            (Outcome::ClosedByPeer, 1000),
            (Outcome::ClosedByPeer, 1008),
        ] {
            assert!(!is_worthwhile(&cause(outcome, code)), "{outcome:?} {code}");
        }
    }
}
