//! The built-in services, as what they do to bytes.

use std::{fmt, str::FromStr};

use crate::nearest;

/// A built-in service: it answers bytes with as many bytes, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `a` to `z` become `A` to `Z`; every other byte stays.
    Upper,
    /// Every byte stays.
    Echo,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 2] = [Service::Upper, Service::Echo];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Service::Upper => "upper",
            Service::Echo => "echo",
        }
    }

    /// Turns what was received into the answer.
    pub fn answer(self, bytes: &mut [u8]) {
        match self {
            Service::Upper => bytes.make_ascii_uppercase(),
            Service::Echo => {}
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Service, String> {
        Service::ALL.into_iter().find(|service| service.name() == text).ok_or_else(|| {
            let names = Service::ALL.map(Service::name).join(", ");
            let tip = nearest::tip(text, Service::ALL.map(Service::name));
            format!("unknown service \"{text}\": expected one of {names}{tip}")
        })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_changes_the_26_letters_of_256_bytes_and_nothing_else() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        Service::Upper.answer(&mut bytes);
        for (before, after) in (0..=255_u8).zip(bytes) {
            let expected = if (97..=122).contains(&before) { before - 32 } else { before };
            assert_eq!(after, expected, "{before:#04x}");
        }
    }
}
