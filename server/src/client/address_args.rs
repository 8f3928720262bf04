//! The options for addresses on the command line: the family and the local address.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::net::happy_eyeballs::{ConnectOptions, Family};

/// The options for addresses.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct AddressArgs {
    /// Use IPv4 addresses only
    #[arg(long, short = '4', conflicts_with = "ipv6")]
    ipv4: bool,

    /// Use IPv6 addresses only
    #[arg(long, short = '6')]
    ipv6: bool,

    /// Connect from this local address
    #[arg(long, value_name = "ADDR[:PORT]")]
    source: Option<Source>,
}

impl AddressArgs {
    /// The validated options.
    pub(super) fn options(&self) -> Result<ConnectOptions, String> {
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        let source = self.source.map(|Source(address)| address);
        match (source, family) {
            (Some(SocketAddr::V4(_)), Some(Family::V6)) => {
                Err("--source is an IPv4 address, which --ipv6 excludes".to_owned())
            }
            (Some(SocketAddr::V6(_)), Some(Family::V4)) => {
                Err("--source is an IPv6 address, which --ipv4 excludes".to_owned())
            }
            (source, family) => Ok(ConnectOptions { family, source }),
        }
    }

    /// The first given option.
    pub(super) fn flag(&self) -> Option<&'static str> {
        let given =
            [("--ipv4", self.ipv4), ("--ipv6", self.ipv6), ("--source", self.source.is_some())];
        given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }
}

/// A local address; port 0 stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source(SocketAddr);

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let without_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = without_brackets.unwrap_or(text).parse().map(|ip: IpAddr| (ip, 0).into());
        address.or_else(|_| text.parse()).map(Source).map_err(|_| {
            "expected an address of this machine, such as 192.0.2.1 or [::1]:7000".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_with_or_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(text.parse(), Ok(Source(expected.parse().unwrap())), "{text}");
        }
        for text in ["localhost", "7", ":7", "192.0.2.1:", "[::1"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
