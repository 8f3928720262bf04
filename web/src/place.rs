//! Where the page is, and what follows from it: the endpoint it offers first, and what a short
//! form of an endpoint means.

use crate::words::Words;

/// Where the page was loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether over HTTPS: then WebSockets go over TLS too.
    pub secure: bool,
    /// `HOST:PORT`, without the port where it is the scheme's own.
    pub host: String,
}

/// What the page begins with: what its URL's parameters say, in the manner of noVNC, and what goes
/// without saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The endpoint to offer: `path` on this server, `/ws` if none is given. A link can choose
    /// the path, never another server.
    pub endpoint: String,
    /// The subprotocols to offer: `protocol`.
    pub protocol: String,
    /// Whether to connect at once: `autoconnect`.
    pub autoconnect: bool,
    /// Whether to connect again when a connection is lost: `reconnect`.
    pub reconnect: bool,
}

/// Why what was typed is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// Nothing was typed.
    Empty,
    /// A scheme, and no host.
    NoHost,
    /// White space.
    WhiteSpace,
    /// Neither `ws://` nor `wss://` nor a path.
    OtherScheme,
}

impl NoEndpoint {
    /// In a sentence.
    pub fn sentence(self, words: &Words) -> &'static str {
        match self {
            NoEndpoint::Empty => words.endpoint_empty,
            NoEndpoint::NoHost => words.endpoint_no_host,
            NoEndpoint::WhiteSpace => words.endpoint_space,
            NoEndpoint::OtherScheme => words.endpoint_scheme,
        }
    }
}

impl Place {
    /// What the page begins with if its URL has these parameters.
    pub fn start(&self, parameter: impl Fn(&str) -> Option<String>) -> Start {
        let path = parameter("path").unwrap_or_else(|| "ws".to_owned());
        let on = |value: String| !matches!(&*value, "0" | "false" | "no" | "off");
        Start {
            endpoint: self.here(path.trim()),
            protocol: parameter("protocol").unwrap_or_default(),
            autoconnect: parameter("autoconnect").is_some_and(on),
            reconnect: parameter("reconnect").is_some_and(on),
        }
    }

    /// The URL that is meant by what was typed: a `ws://` or `wss://` URL, or a path on this
    /// server.
    pub fn endpoint(&self, typed: &str) -> Result<String, NoEndpoint> {
        let typed = typed.trim();
        if typed.starts_with('/') {
            return Ok(self.here(typed));
        }
        let rest = ["ws://", "wss://"].into_iter().find_map(|scheme| typed.strip_prefix(scheme));
        match rest {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) => {
                Err(NoEndpoint::NoHost)
            }
            Some(rest) if rest.contains(char::is_whitespace) => Err(NoEndpoint::WhiteSpace),
            Some(_) => Ok(typed.to_owned()),
            None if typed.is_empty() => Err(NoEndpoint::Empty),
            None => Err(NoEndpoint::OtherScheme),
        }
    }

    /// The path on this server that a URL names, query and all; `None` if it is elsewhere.
    pub fn path<'a>(&self, url: &'a str) -> Option<&'a str> {
        let path = url.strip_prefix(&*self.here("/"))?;
        // The slash belongs to the path.
        Some(&url[url.len() - path.len() - 1..])
    }

    /// The URL that is really opened: on this server with a label by which the connection is
    /// found again in what the server tells; elsewhere as it is.
    pub fn labelled(&self, url: &str, label: &str) -> String {
        match self.path(url) {
            Some(path) => {
                let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
                let sign = if path.contains('?') { '&' } else { '?' };
                let hash = if fragment.is_empty() { "" } else { "#" };
                format!("{before}{sign}label={label}{hash}{fragment}")
            }
            None => url.to_owned(),
        }
    }

    /// The URL of a path on this server.
    pub fn here(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{slash}{path}", self.host)
    }
}

/// The subprotocols in a list with commas or spaces between them.
pub fn protocols(typed: &str) -> Vec<String> {
    typed
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(secure: bool) -> Place {
        Place { secure, host: "h:8080".to_owned() }
    }

    fn start(parameters: &[(&str, &str)]) -> Start {
        place(false).start(|wanted| {
            let found = parameters.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_page_offers_its_own_server_first() {
        let expected = Start {
            endpoint: "ws://h:8080/ws".to_owned(),
            protocol: String::new(),
            autoconnect: false,
            reconnect: false,
        };
        assert_eq!(start(&[]), expected);
        assert_eq!(place(true).start(|_| None).endpoint, "wss://h:8080/ws");
    }

    #[test]
    fn parameters_choose_path_and_protocol_and_whether_to_connect() {
        assert_eq!(start(&[("path", "ws/echo")]).endpoint, "ws://h:8080/ws/echo");
        assert_eq!(start(&[("path", "/ws/echo")]).endpoint, "ws://h:8080/ws/echo");
        assert_eq!(start(&[("protocol", "binary")]).protocol, "binary");
        assert!(start(&[("autoconnect", "")]).autoconnect);
        assert!(start(&[("autoconnect", "true")]).autoconnect);
        assert!(!start(&[("autoconnect", "0")]).autoconnect);
        assert!(start(&[("reconnect", "1")]).reconnect);
        assert!(!start(&[("autoconnect", "false")]).autoconnect);
    }

    #[test]
    fn no_path_leads_to_another_server() {
        assert_eq!(start(&[("path", "//evil/ws")]).endpoint, "ws://h:8080//evil/ws");
        assert_eq!(start(&[("path", "wss://evil/")]).endpoint, "ws://h:8080/wss://evil/");
        assert_eq!(start(&[("path", "@evil/")]).endpoint, "ws://h:8080/@evil/");
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_path_here() {
        let place = place(false);
        assert_eq!(place.endpoint(" /ws/time ").unwrap(), "ws://h:8080/ws/time");
        assert_eq!(place.endpoint("wss://o.example/x?y").unwrap(), "wss://o.example/x?y");
        assert_eq!(place.endpoint(""), Err(NoEndpoint::Empty));
        assert_eq!(place.endpoint("ws://"), Err(NoEndpoint::NoHost));
        assert_eq!(place.endpoint("ws://a b"), Err(NoEndpoint::WhiteSpace));
        for wrong in ["localhost:8080", "http://h/", "tcp://h:1"] {
            assert_eq!(place.endpoint(wrong), Err(NoEndpoint::OtherScheme), "{wrong}");
        }
    }

    #[test]
    fn only_connections_to_this_server_are_labelled() {
        let place = place(false);
        assert_eq!(place.path("ws://h:8080/ws?a=b"), Some("/ws?a=b"));
        assert_eq!(place.path("ws://h:80801/ws"), None);
        assert_eq!(place.labelled("ws://h:8080/ws", "x"), "ws://h:8080/ws?label=x");
        assert_eq!(place.labelled("ws://h:8080/ws?a=b#c", "x"), "ws://h:8080/ws?a=b&label=x#c");
        assert_eq!(place.labelled("wss://h:8080/ws", "x"), "wss://h:8080/ws");
    }

    #[test]
    fn subprotocols_are_listed_with_commas_or_spaces() {
        assert_eq!(protocols(" binary, base64  mqtt,"), ["binary", "base64", "mqtt"]);
        assert_eq!(protocols(""), [""; 0]);
    }
}
