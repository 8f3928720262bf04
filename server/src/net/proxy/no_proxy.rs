//! The hosts that are connected to directly although there is a proxy, in the form of `NO_PROXY`.

use std::{net::IpAddr, str::FromStr};

use echogate_proto::endpoint::HostPort;
use ipnet::IpNet;

use crate::{net::authority::Host, text::escape::escape};

/// A list of hosts, as curl takes it: elements are separated by commas or white space. `*` stands
/// for all hosts, `10.0.0.0/8` or `10.0.0.1` for addresses, and `example.com`, `.example.com` or
/// `*.example.com` for a name and all names below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoProxy(Vec<Element>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    All,
    Network(IpNet),
    /// A name in lower case, without dots around it.
    Domain(String),
}

impl NoProxy {
    /// Parses a list of other programs: elements that are not understood are ignored.
    pub(super) fn lenient(list: &str) -> NoProxy {
        NoProxy(elements(list).filter_map(|element| Element::parse(element).ok()).collect())
    }

    /// Whether `at` is connected to directly.
    pub(super) fn contains(&self, at: &HostPort) -> bool {
        let host = at.without_zone();
        let ip: Option<IpAddr> = host.parse().ok();
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.0.iter().any(|element| match (element, ip) {
            (Element::All, _) => true,
            (Element::Network(network), Some(ip)) => network.contains(&ip.to_canonical()),
            (Element::Domain(domain), None) => {
                let below = name.strip_suffix(&**domain);
                below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            _ => false,
        })
    }
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    let elements = list.split(|c: char| c == ',' || c.is_whitespace());
    elements.filter(|element| !element.is_empty())
}

impl FromStr for NoProxy {
    type Err = String;

    fn from_str(list: &str) -> Result<NoProxy, String> {
        let elements: Vec<_> = elements(list).map(Element::parse).collect::<Result<_, _>>()?;
        if elements.is_empty() {
            return Err("the list is empty: expected hosts, or * for all".to_owned());
        }
        Ok(NoProxy(elements))
    }
}

impl Element {
    fn parse(text: &str) -> Result<Element, String> {
        if text == "*" {
            return Ok(Element::All);
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Element::Network(network.trunc()));
        }
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        match Host::parse_setting(name) {
            Ok(Host::Ip(ip)) => Ok(Element::Network(ip.to_canonical().into())),
            Ok(Host::Name(name)) => Ok(Element::Domain(name)),
            Err(why) => Err(format!(
                "\"{}\": {why} (expected a host name, an address, a network as 10.0.0.0/8, or * \
                 for all)",
                escape(text)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_domains_addresses_and_networks() {
        let list = "example.com, .a.example *.b.example,10.0.0.0/8 192.0.2.1,[::1],2001:db8::/32";
        let list: NoProxy = list.parse().unwrap();
        for (host, direct) in [
            ("example.com", true),
            ("EXAMPLE.com", true),
            ("www.example.com", true),
            ("notexample.com", false),
            ("example.com.evil", false),
            ("a.example", true),
            ("x.a.example", true),
            ("x.b.example", true),
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("[::1]", true),
            ("[2001:db8::5]", true),
            ("[::ffff:10.0.0.1]", true),
        ] {
            assert_eq!(list.contains(&format!("{host}:1").parse().unwrap()), direct, "{host}");
        }
        let all: NoProxy = "*".parse().unwrap();
        assert!(all.contains(&"h:1".parse().unwrap()) && all.contains(&"[::1]:1".parse().unwrap()));
        assert!(!NoProxy::default().contains(&"h:1".parse().unwrap()));
    }

    #[test]
    fn an_element_that_names_no_host_is_refused_in_a_setting_and_ignored_in_the_environment() {
        for wrong in ["", " , ", "h:80", "http://h", "10.0.0.0/99", "a b..c"] {
            assert!(wrong.parse::<NoProxy>().is_err(), "{wrong}");
        }
        let lenient = NoProxy::lenient("h:80, direct.example");
        assert!(lenient.contains(&"direct.example:1".parse().unwrap()));
    }
}
