//! Credentials of URLs in error texts, which quote what was given.

/// The text with `***` in place of each user name and password of a URL (`//USER:PASSWORD@`). A URL
/// that is invalid counts as well: its credentials reach to the last `@` before a space or a quote.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("//") {
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '?' | '#'));
        let end = end.unwrap_or(url.len());
        // A second URL, as in LISTEN=URL, is taken in the next turn.
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
        ] {
            assert_eq!(without_credentials(given), shown);
        }
    }
}
