//! Masking keys of frames that this process sends as a WebSocket client.

use std::cell::RefCell;

use echogate_proto::ws::{Role, frame::mask_control_frames};

/// A masking key (RFC 6455 section 5.3).
type Key = [u8; 4];

/// The number of keys that are drawn at once from the system's random number generator.
const DRAWN: usize = 256;

thread_local! {
    /// Keys of this thread that are not used yet.
    static KEYS: RefCell<Vec<Key>> = const { RefCell::new(Vec::new()) };
}

/// A new key, which cannot be predicted from earlier ones (RFC 6455 section 10.3).
///
/// # Panics
///
/// If the system's random number generator fails.
pub(crate) fn next() -> Key {
    KEYS.with_borrow_mut(|keys| {
        if keys.is_empty() {
            let mut bytes = [0; 4 * DRAWN];
            getrandom::fill(&mut bytes).expect("the system's random number generator works");
            keys.extend_from_slice(bytes.as_chunks().0);
        }
        keys.pop().unwrap_or_default()
    })
}

/// Converts unmasked control frames to the form in which an endpoint with this `role` sends them.
pub(crate) fn control_frames(frames: Vec<u8>, role: Role) -> Vec<u8> {
    match role {
        Role::Server => frames,
        Role::Client => mask_control_frames(&frames, next),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_is_used_twice_in_a_row_and_few_are_used_twice() {
        let keys: HashSet<Key> = (0..4 * DRAWN).map(|_| next()).collect();
        assert!(keys.len() > 4 * DRAWN - 8, "{}", keys.len());
    }
}
