//! Connections one after the other: one for each message, or a new one when the last is
//! lost.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    call::{Conversation, call},
    escape::words,
    link::Stop,
    replies::Wait,
    talk::Talk,
    target::Target,
};

/// The pause before the first attempt to connect again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Which connections a talk is held over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// A new one for each message.
    pub(super) once: bool,
    /// A new one when one fails or is ended before all is said.
    pub(super) reconnect: bool,
    /// How long the peer is waited for when all has been sent.
    pub(super) wait: Wait,
}

impl Calls {
    /// Holds all of `talk`, and says how the peer's last words were.
    pub(super) async fn hold(self, target: &Target, talk: &mut Talk) -> Result<String, Stop> {
        if !self.once {
            return self.hold_on(target, talk).await;
        }
        talk.begin("each line has a connection of its own; Ctrl-D ends")?;
        while talk.prepare().await? {
            self.hold_on(target, talk).await?;
        }
        Ok(String::new())
    }

    /// Holds as much of `talk` as is meant for one connection.
    async fn hold_on(self, target: &Target, talk: &mut Talk) -> Result<String, Stop> {
        let mut pauses = Pauses::new();
        loop {
            let lost = match call(target, self.wait, talk).await {
                Ok(words) if self.once || !self.reconnect || talk.is_over() => return Ok(words),
                Ok(words) => words,
                Err(Stop::Connection(error)) if self.reconnect && !talk.is_over() => words(&error),
                Err(stop) => return Err(stop),
            };
            if talk.has_heard() {
                pauses = Pauses::new();
            }
            let pause = pauses.next();
            let words = format!("{lost}; connecting again in {:.1} s", pause.as_secs_f64());
            talk.lose(&words).await?;
            talk.meanwhile(async {
                sleep(pause).await;
                Ok(())
            })
            .await?;
        }
    }
}

/// The pauses between attempts: each twice the last, less up to a quarter by chance, so
/// that many clients of one server do not come back all at once.
#[derive(Debug)]
struct Pauses {
    longest: Duration,
    chance: RandomState,
}

impl Pauses {
    fn new() -> Pauses {
        Pauses { longest: FIRST_PAUSE, chance: RandomState::new() }
    }

    fn next(&mut self) -> Duration {
        let longest = self.longest;
        self.longest = (longest * 2).min(LONGEST_PAUSE);
        let chance = self.chance.hash_one(longest) % 256;
        longest - longest / 4 * u32::try_from(chance).unwrap_or_default() / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_about_twice_the_last_up_to_half_a_minute() {
        let mut pauses = Pauses::new();
        for longest in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            let pause = pauses.next().as_millis();
            assert!((longest * 3 / 4..=longest).contains(&pause), "{pause} of {longest}");
        }
    }
}
