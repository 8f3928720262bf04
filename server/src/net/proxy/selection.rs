//! The proxy of a destination: by the settings, or by the environment variables that curl reads.

use std::env;

use echogate_proto::endpoint::HostPort;

use super::{Destination, Proxy, no_proxy::NoProxy};
use crate::net::{authority::is_loopback, happy_eyeballs::ConnectOptions};

/// The variables of the environment. As in curl, a name in lower case has priority, and there is no
/// `HTTP_PROXY`: in the environment of a CGI program it is the header `Proxy` of the request.
const HTTPS: &[&str] = &["https_proxy", "HTTPS_PROXY"];
const HTTP: &[&str] = &["http_proxy"];
const ALL: &[&str] = &["all_proxy", "ALL_PROXY"];
const NO_PROXY: &[&str] = &["no_proxy", "NO_PROXY"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// The proxies of all destinations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    /// The proxy of the setting `proxy`.
    given: Option<Proxy>,
    /// Whether that proxy is for loopback addresses, too.
    loopback: bool,
    no_proxy: NoProxy,
    /// The proxies of the environment, in descending priority.
    environment: Vec<Variable>,
}

/// A variable that is set, and its proxy or what is wrong with its value.
#[derive(Clone, Debug)]
struct Variable {
    name: &'static str,
    proxy: Result<Proxy, String>,
}

impl Proxies {
    /// The proxies of a client, for which a given proxy is for all destinations.
    pub(crate) fn of_client(given: Option<Proxy>, no_proxy: Option<NoProxy>) -> Proxies {
        Proxies { loopback: true, ..Proxies::of_server(given, no_proxy) }
    }

    /// The proxies of a server, which connects to loopback addresses directly.
    pub(crate) fn of_server(given: Option<Proxy>, no_proxy: Option<NoProxy>) -> Proxies {
        Proxies::new(given, no_proxy, |name| env::var(name).ok())
    }

    fn new(
        given: Option<Proxy>,
        no_proxy: Option<NoProxy>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Proxies {
        let value = |name: &str| Some(variable(name)?.trim().to_owned()).filter(|v| !v.is_empty());
        let no_proxy = no_proxy.unwrap_or_else(|| {
            let list = NO_PROXY.iter().find_map(|name| value(name));
            NoProxy::lenient(&list.unwrap_or_default())
        });
        let variables = [HTTPS, HTTP, ALL].concat().into_iter();
        let environment = variables
            .filter_map(|name| Some(Variable { name, proxy: value(name)?.parse() }))
            .collect();
        Proxies { given, loopback: false, no_proxy, environment }
    }

    /// A host with its proxy. A proxy of the environment is never for a loopback address.
    ///
    /// # Errors
    ///
    /// One line that names the variable of the environment and says what is wrong with it.
    pub(crate) fn destination(
        &self,
        scheme: Scheme,
        host: &HostPort,
    ) -> Result<Destination, String> {
        let proxy = self.select(scheme, host)?.cloned();
        Ok(Destination { host: host.clone(), proxy, options: ConnectOptions::default() })
    }

    /// The proxy for `at`; None if it is connected to directly.
    fn select(&self, scheme: Scheme, at: &HostPort) -> Result<Option<&Proxy>, String> {
        let is_direct = || self.no_proxy.contains(at);
        if let Some(proxy) = &self.given {
            let applies = (self.loopback || !is_loopback(at)) && !is_direct();
            return Ok(applies.then_some(proxy));
        }
        let Some(Variable { name, proxy }) = self.variable(scheme) else { return Ok(None) };
        if is_loopback(at) || is_direct() {
            return Ok(None);
        }
        proxy.as_ref().map(Some).map_err(|why| format!("{name} (environment): {why}"))
    }

    /// The variable of the environment for a scheme.
    fn variable(&self, scheme: Scheme) -> Option<&Variable> {
        let own = match scheme {
            Scheme::Tcp => &[],
            Scheme::Tls | Scheme::Wss => HTTPS,
            Scheme::Ws => HTTP,
        };
        let names = [own, ALL];
        self.environment.iter().find(|variable| names.iter().any(|n| n.contains(&variable.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proxy that `proxies` selects, or the error.
    fn selected(proxies: &Proxies, scheme: Scheme, at: &str) -> String {
        match proxies.select(scheme, &at.parse().unwrap()) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "direct".to_owned(),
            Err(error) => error,
        }
    }

    fn of_environment(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        Proxies::new(None, None, |name| value(name).map(ToString::to_string))
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_is_for_the_others() {
        let proxies = of_environment(&[
            ("HTTPS_PROXY", "http://upper"),
            ("https_proxy", "http://s:1"),
            ("HTTP_PROXY", "http://cgi:1"),
            ("http_proxy", " "),
            ("ALL_PROXY", "socks5h://a"),
            ("NO_PROXY", "internal.example, 10.0.0.0/8,*.local:80"),
        ]);
        for (scheme, at, expected) in [
            (Scheme::Wss, "h:443", "http://s:1"),
            (Scheme::Tls, "h:443", "http://s:1"),
            (Scheme::Ws, "h:80", "socks5h://a:1080"),
            (Scheme::Tcp, "h:80", "socks5h://a:1080"),
            (Scheme::Tcp, "localhost:80", "direct"),
            (Scheme::Wss, "127.1.2.3:80", "direct"),
            (Scheme::Wss, "[::1]:80", "direct"),
            (Scheme::Wss, "x.internal.example:80", "direct"),
            (Scheme::Wss, "10.1.2.3:80", "direct"),
            (Scheme::Wss, "11.1.2.3:80", "http://s:1"),
        ] {
            assert_eq!(selected(&proxies, scheme, at), expected, "{scheme:?} {at}");
        }
        let http = of_environment(&[("http_proxy", "p:8"), ("HTTP_PROXY", "q:8")]);
        assert_eq!(selected(&http, Scheme::Ws, "h:80"), "http://p:8");
        assert_eq!(selected(&http, Scheme::Wss, "h:80"), "direct");
    }

    #[test]
    fn a_given_proxy_is_for_loopback_in_a_client_only_and_precedes_the_environment() {
        let given: Proxy = "http://given:1".parse().unwrap();
        let variable = |name: &str| (name == "ALL_PROXY").then(|| "http://all:1".to_owned());
        let server = Proxies::new(Some(given), Some("direct.example".parse().unwrap()), variable);
        let client = Proxies { loopback: true, ..server.clone() };
        assert_eq!(selected(&server, Scheme::Tcp, "h:1"), "http://given:1");
        assert_eq!(selected(&server, Scheme::Tcp, "localhost:1"), "direct");
        assert_eq!(selected(&client, Scheme::Tcp, "localhost:1"), "http://given:1");
        assert_eq!(selected(&client, Scheme::Tcp, "direct.example:1"), "direct");
    }

    #[test]
    fn an_invalid_variable_is_an_error_only_where_it_would_be_used() {
        let proxies = of_environment(&[("https_proxy", "https://p"), ("NO_PROXY", "d")]);
        let error = "https_proxy (environment): TLS to a proxy is not supported: expected http://, \
                     socks5:// or socks5h://";
        assert_eq!(selected(&proxies, Scheme::Wss, "h:1"), error);
        assert_eq!(selected(&proxies, Scheme::Wss, "d:1"), "direct");
        assert_eq!(selected(&proxies, Scheme::Wss, "localhost:1"), "direct");
        assert_eq!(selected(&proxies, Scheme::Ws, "h:1"), "direct");
    }
}
