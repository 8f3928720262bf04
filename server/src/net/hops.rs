//! The hops of a request through this server, in the header field `Via` (RFC 9110 section 7.6.3):
//! a request that comes back to the same route is a loop.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, header};

/// The name of this process in `Via`.
#[derive(Clone, Debug)]
pub(crate) struct Hops {
    name: String,
}

impl Hops {
    /// A random name.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn random() -> io::Result<Hops> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        Ok(Hops::new(name))
    }

    fn new(name: [u8; 8]) -> Hops {
        Hops { name: format!("echogate-{}", HEXLOWER.encode(&name)) }
    }

    /// Whether the request with these header fields has passed the route or forward `target` of this
    /// process.
    pub(crate) fn has_passed(&self, target: &str, headers: &HeaderMap) -> bool {
        let name = self.name_of(target);
        let mut values = headers.get_all(header::VIA).iter().filter_map(|via| via.to_str().ok());
        values.any(|via| via.split([',', ' ']).any(|word| word == name))
    }

    /// The name of a route or forward of this process: a token, which a path is not.
    fn name_of(&self, target: &str) -> String {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        format!("{}-{:016x}", self.name, hasher.finish())
    }

    /// Adds the route or forward `target` of this process to the hops.
    pub(crate) fn add(&self, target: &str, headers: &mut HeaderMap) {
        let via = format!("1.1 {}", self.name_of(target));
        headers.append(header::VIA, HeaderValue::try_from(via).expect("visible ASCII"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_back_is_recognised_among_other_hops() {
        let (here, other) = (Hops::new([1; 8]), Hops::new([2; 8]));
        let mut headers = HeaderMap::new();
        assert!(!here.has_passed("/x", &headers));
        other.add("/x", &mut headers);
        here.add("/y", &mut headers);
        assert!(!here.has_passed("/x", &headers), "another process, and another route");
        here.add("/x", &mut headers);
        assert!(here.has_passed("/x", &headers));
        let joined = format!("1.0 fred, 1.1 {}", here.name_of("/x"));
        headers = HeaderMap::from_iter([(header::VIA, joined.parse().unwrap())]);
        assert!(here.has_passed("/x", &headers));
    }
}
