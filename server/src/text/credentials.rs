//! Removal of the credentials of URLs from error texts, which quote arguments and settings.

/// The text with `***` in place of each user name and password of a URL (`//USER:PASSWORD@`), also
/// of an invalid one. Credentials reach to the last `@` before a space or a quote, or before the
/// query if the text before the query may be a host and a port.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("//") {
        let quoted = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let end = quoted.unwrap_or(url.len());
        let query = url[..end].find(['?', '#']).filter(|query| is_host_and_path(&url[..*query]));
        let end = query.unwrap_or(end);
        // A second URL, as in LISTEN=URL, is left for the next iteration.
        let end = url[..end].find("//").unwrap_or(end);
        shown.push_str(before);
        shown.push_str("//");
        rest = match url[..end].rfind('@') {
            // `unix:///PATH` has no credentials.
            Some(at) if !url.starts_with('/') => {
                shown.push_str("***");
                &url[at..]
            }
            _ => url,
        };
    }
    shown.push_str(rest);
    shown
}

/// Whether the text before a query may be `HOST/PATH` or `HOST:PORT/PATH`.
fn is_host_and_path(text: &str) -> bool {
    let authority = text.split('/').next().unwrap_or_default();
    let behind_address = authority.rsplit(']').next().unwrap_or_default();
    text.contains('@')
        || behind_address
            .split_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The value of a setting for errors: without credentials, and without the query and the options of
/// a URL, which may be secrets. After `=`, a URL may be `HOST:PORT` without a scheme.
pub(crate) fn without_secrets(value: &str) -> String {
    let shown = without_credentials(value);
    let url = ["://", "=", "service:"].iter().filter_map(|start| shown.find(start)).min();
    let options = url.and_then(|url| {
        let at = shown[url..].find(['?', '#'])?;
        Some(url + at + 1)
    });
    match options {
        Some(at) if at < shown.len() => format!("{}…", &shown[..at]),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_and_passwords_of_urls_are_left_out() {
        for (given, shown) in [
            ("ws://user:secret@h/x", "ws://***@h/x"),
            ("\"http://u:p@ss/w@h:8x\": bad port", "\"http://***@h:8x\": bad port"),
            ("5433=wss://u:s@a/=b, tcp://h", "5433=wss://***@a/=b, tcp://h"),
            ("unix:///a@b", "unix:///a@b"),
            ("tcp://h:1 to tls://u@h", "tcp://h:1 to tls://***@h"),
            ("ws://h/?to=a@b", "ws://h/?to=a@b"),
            ("tcp://u:1@h=ws://v:2@w/", "tcp://***@h=ws://***@w/"),
            ("nats://u:p@a,v:q@b", "nats://***@b"),
            ("nothing // here", "nothing // here"),
            ("ws://u:p?ss@h: bad", "ws://***@h: bad"),
            ("ws://u:p#s?s@h/a?b@c", "ws://***@c"),
            ("ws://u:p@h/?to=a@b", "ws://***@h/?to=a@b"),
            ("ws://h:80/?to=a@b", "ws://h:80/?to=a@b"),
            ("ws://[::1]:80?to=a@b", "ws://[::1]:80?to=a@b"),
        ] {
            assert_eq!(without_credentials(given), shown);
        }
    }

    #[test]
    fn queries_and_options_of_urls_are_left_out() {
        for (given, shown) in [
            ("/x=ws://u:p@h/a?token=b#header=c", "/x=ws://***@h/a?…"),
            ("5433=wss://h#header=Authorization:Bearer s", "5433=wss://h#…"),
            ("ws://u:p?s@h#header=c", "ws://***@h#…"),
            ("/x=h:80#header=Origin:http://h?s", "/x=h:80#…"),
            ("/x=service:echo#header=s", "/x=service:echo#…"),
            ("service:echo#header=s", "service:echo#…"),
            ("tcp://h:1", "tcp://h:1"),
            ("what?", "what?"),
        ] {
            assert_eq!(without_secrets(given), shown);
        }
    }
}
