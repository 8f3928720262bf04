//! The page's own address, and endpoints relative to it.

use crate::{composer::Draft, i18n::Texts};

/// The origin and the folder that the page was loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Whether the scheme is `https`; WebSockets use `wss` then.
    pub secure: bool,
    /// `HOST:PORT`, without the port if it is the scheme's default.
    pub host: String,
    /// The path of the page up to its last slash, which is left out: empty, or the path below which
    /// a proxy publishes the server.
    pub base: String,
}

/// The parameters of the page's URL, named as those of noVNC, and their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// `path`: the endpoint on this server, by default the first route that the server reports. A
    /// link can choose the path, never another server.
    pub endpoint: Option<String>,
    /// `protocol`: the subprotocols to offer.
    pub protocol: String,
    /// `autoconnect`: whether to connect when the page has loaded.
    pub autoconnect: bool,
    /// `reconnect`: whether to connect again when a connection is lost.
    pub reconnect: bool,
}

/// The parameters of a shared link, in the fragment of the page's URL: the server does not see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLink {
    /// `endpoint`, as it was typed.
    pub endpoint: String,
    /// `subprotocol`, as it was typed.
    pub protocols: String,
    /// `message` or `hex`, `ending` and `escapes`.
    pub draft: Draft,
}

/// The reason why a typed text is not an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// The text is empty.
    Empty,
    /// There is no host after the scheme.
    NoHost,
    /// The text contains white space.
    WhiteSpace,
    /// The text has a scheme other than those of WebSocket and HTTP.
    OtherScheme,
}

impl EndpointError {
    /// The error as a sentence.
    pub fn sentence(self, texts: &Texts) -> &'static str {
        match self {
            EndpointError::Empty => texts.endpoint_empty,
            EndpointError::NoHost => texts.endpoint_no_host,
            EndpointError::WhiteSpace => texts.endpoint_space,
            EndpointError::OtherScheme => texts.endpoint_scheme,
        }
    }
}

impl Location {
    /// Reads the parameters of the page's URL.
    pub fn start_options(&self, parameter: impl Fn(&str) -> Option<String>) -> StartOptions {
        let on = |value: String| !matches!(&*value, "0" | "false" | "no" | "off");
        StartOptions {
            endpoint: parameter("path").map(|path| self.url_of(path.trim())),
            protocol: parameter("protocol").unwrap_or_default(),
            autoconnect: parameter("autoconnect").is_some_and(on),
            reconnect: parameter("reconnect").is_some_and(on),
        }
    }

    /// The URL of a typed endpoint: a URL (`ws://`, `wss://`, `http://`, `https://`), a host with an
    /// optional port and path, or a path on this server. A host is `localhost`, or has a dot or a
    /// colon.
    pub fn parse_endpoint(&self, typed: &str) -> Result<String, EndpointError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(EndpointError::Empty);
        }
        if typed.starts_with('/') {
            return Ok(self.url_of(typed));
        }
        let (secure, rest) = match typed.split_once("://") {
            Some(("ws" | "http", rest)) => (false, rest),
            Some(("wss" | "https", rest)) => (true, rest),
            Some(_) => return Err(EndpointError::OtherScheme),
            None => {
                let host = typed.split(['/', '?', '#']).next().unwrap_or_default();
                if host != "localhost" && !host.contains(['.', ':']) {
                    return Ok(self.url_of(typed));
                }
                (self.secure, typed)
            }
        };
        if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
            return Err(EndpointError::NoHost);
        }
        if rest.contains(char::is_whitespace) {
            return Err(EndpointError::WhiteSpace);
        }
        Ok(format!("{}://{rest}", if secure { "wss" } else { "ws" }))
    }

    /// The host without the port.
    pub fn host_name(&self) -> &str {
        let host = self.host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        host.map_or(&*self.host, |(host, _)| host)
    }

    /// An endpoint as it is shown: a path on this server, another server's URL.
    pub fn short<'a>(&self, url: &'a str) -> &'a str {
        self.local_path(url).unwrap_or(url)
    }

    /// The path and query of a URL on this server; `None` for another server's.
    pub fn local_path<'a>(&self, url: &'a str) -> Option<&'a str> {
        let path = url.strip_prefix(&*self.url_of("/"))?;
        // The path includes its slash.
        Some(&url[url.len() - path.len() - 1..])
    }

    /// The URL to open: on this server with a label, by which the connection is found among those
    /// that the server reports; another server's unchanged.
    pub fn with_label(&self, url: &str, label: &str) -> String {
        match self.local_path(url) {
            Some(path) => {
                let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
                let sign = if path.contains('?') { '&' } else { '?' };
                let hash = if fragment.is_empty() { "" } else { "#" };
                format!("{before}{sign}label={label}{hash}{fragment}")
            }
            None => url.to_owned(),
        }
    }

    /// The URL of a path on this server, as the server reports it: below the page's folder.
    pub fn url_of(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{}{slash}{path}", self.host, self.base)
    }
}

/// The subprotocols in a list separated by commas or spaces.
pub fn parse_subprotocols(typed: &str) -> Vec<String> {
    typed
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(secure: bool) -> Location {
        Location { secure, host: "h:8080".to_owned(), base: String::new() }
    }

    fn start(parameters: &[(&str, &str)]) -> StartOptions {
        location(false).start_options(|wanted| {
            let found = parameters.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_default_endpoint_is_left_to_the_server() {
        let expected = StartOptions {
            endpoint: None,
            protocol: String::new(),
            autoconnect: false,
            reconnect: false,
        };
        assert_eq!(start(&[]), expected);
    }

    #[test]
    fn parameters_choose_path_and_protocol_and_whether_to_connect() {
        assert_eq!(start(&[("path", "ws/echo")]).endpoint.as_deref(), Some("ws://h:8080/ws/echo"));
        assert_eq!(start(&[("path", "/ws/echo")]).endpoint.as_deref(), Some("ws://h:8080/ws/echo"));
        assert_eq!(start(&[("protocol", "binary")]).protocol, "binary");
        assert!(start(&[("autoconnect", "")]).autoconnect);
        assert!(start(&[("autoconnect", "true")]).autoconnect);
        assert!(!start(&[("autoconnect", "0")]).autoconnect);
        assert!(start(&[("reconnect", "1")]).reconnect);
        assert!(!start(&[("autoconnect", "false")]).autoconnect);
    }

    #[test]
    fn no_path_leads_to_another_server() {
        assert_eq!(
            start(&[("path", "//evil/ws")]).endpoint.as_deref(),
            Some("ws://h:8080//evil/ws")
        );
        assert_eq!(
            start(&[("path", "wss://evil/")]).endpoint.as_deref(),
            Some("ws://h:8080/wss://evil/")
        );
        assert_eq!(start(&[("path", "@evil/")]).endpoint.as_deref(), Some("ws://h:8080/@evil/"));
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_path_on_this_server() {
        let location = location(false);
        assert_eq!(location.parse_endpoint(" /ws/time ").unwrap(), "ws://h:8080/ws/time");
        assert_eq!(location.parse_endpoint("wss://o.example/x?y").unwrap(), "wss://o.example/x?y");
        assert_eq!(location.parse_endpoint(""), Err(EndpointError::Empty));
        assert_eq!(location.parse_endpoint("ws://"), Err(EndpointError::NoHost));
        assert_eq!(location.parse_endpoint("ws://a b"), Err(EndpointError::WhiteSpace));
        assert_eq!(location.parse_endpoint("ws:///x"), Err(EndpointError::NoHost));
        assert_eq!(location.parse_endpoint("tcp://h:1"), Err(EndpointError::OtherScheme));
        for (typed, url) in [
            ("ws/echo", "ws://h:8080/ws/echo"),
            ("localhost:24080/ws", "ws://localhost:24080/ws"),
            ("localhost", "ws://localhost"),
            ("example.net/chat?a", "ws://example.net/chat?a"),
            ("[::1]:80/", "ws://[::1]:80/"),
            ("http://h/", "ws://h/"),
            ("https://h/x", "wss://h/x"),
        ] {
            assert_eq!(location.parse_endpoint(typed).as_deref(), Ok(url));
        }
    }

    #[test]
    fn only_connections_to_this_server_are_labelled() {
        let location = location(false);
        assert_eq!(location.local_path("ws://h:8080/ws?a=b"), Some("/ws?a=b"));
        assert_eq!(location.local_path("ws://h:80801/ws"), None);
        assert_eq!(location.with_label("ws://h:8080/ws", "x"), "ws://h:8080/ws?label=x");
        assert_eq!(
            location.with_label("ws://h:8080/ws?a=b#c", "x"),
            "ws://h:8080/ws?a=b&label=x#c"
        );
        assert_eq!(location.with_label("wss://h:8080/ws", "x"), "wss://h:8080/ws");
    }

    #[test]
    fn paths_are_those_below_the_folder_of_the_page() {
        let location = Location { base: "/tools/echogate".to_owned(), ..location(true) };
        let url = "wss://h:8080/tools/echogate/ws";
        assert_eq!(location.parse_endpoint("/ws").unwrap(), url);
        assert_eq!(location.local_path(url), Some("/ws"));
        assert_eq!(location.local_path("wss://h:8080/ws"), None);
    }

    #[test]
    fn subprotocols_are_listed_with_commas_or_spaces() {
        assert_eq!(parse_subprotocols(" binary, base64  mqtt,"), ["binary", "base64", "mqtt"]);
        assert_eq!(parse_subprotocols(""), [""; 0]);
    }
}
