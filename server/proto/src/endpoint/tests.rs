use proptest::prelude::*;

use super::*;

fn error(text: &str) -> EndpointError {
    text.parse::<Endpoint>().unwrap_err()
}

#[test]
fn every_scheme_is_read_and_written_back_the_same() {
    for text in [
        "tcp://127.0.0.1:7007",
        "tcp://[::1]:0",
        "tls://example.net:8443?ca=/etc/ca.pem",
        "udp://0.0.0.0:7007",
        "unix:///run/echogate.sock?mode=600",
        "unixgram:///run/echogate.sock",
        "tcp://127.0.0.1:7007?once&a=b",
        "ws://localhost:8080/ws/time",
        "wss://[2001:db8::1]:443/",
        "service:upper?framing=line",
        "unix:///a%20dir/b%25%3F%2C%FF/世界",
        "tls://h:1?ca=/My%20Dir/a%26b.pem",
        "tcp://[fe80::1%25eth0]:1",
        "ws://user:p%40ss@h:80/",
        "wss://token@h:443/a?b",
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn a_websocket_url_has_a_port_and_a_path_even_where_none_is_given() {
    assert_eq!("ws://h".parse::<Endpoint>().unwrap().to_string(), "ws://h:80/");
    assert_eq!("wss://h/a".parse::<Endpoint>().unwrap().to_string(), "wss://h:443/a");
}

#[test]
fn common_variants_of_urls_are_accepted_and_normalized() {
    for (text, expected) in [
        ("WS://h/", "ws://h:80/"),
        ("Tcp://h:1", "tcp://h:1"),
        ("WSS://h?A=b", "wss://h:443/?A=b"),
        ("UNIX:///S", "unix:///S"),
        ("http://h/a?b", "ws://h:80/a?b"),
        ("HTTPS://user:p@h", "wss://user:p@h:443/"),
        ("ws://h/chât/世 界", "ws://h:80/ch%C3%A2t/%E4%B8%96%20%E7%95%8C"),
        ("ws://h?filter={\"a\":1}&q=<b>'", "ws://h:80/?filter={%22a%22:1}&q=%3Cb%3E%27"),
        ("ws://h/{a}^`%20%zz", "ws://h:80/%7Ba%7D%5E%60%20%zz"),
        ("tcp://[fe80::1%eth0]:1", "tcp://[fe80::1%25eth0]:1"),
        ("tcp://[fe80::1%2]:1", "tcp://[fe80::1%252]:1"),
        ("ws://a:b:c@d@h/", "ws://a:b%3Ac%40d@h:80/"),
        ("ws://:secret@h/", "ws://:secret@h:80/"),
        ("unix:///a dir/s", "unix:///a%20dir/s"),
        ("unix:///a%2c%62", "unix:///a%2Cb"),
        ("tls://h:1?ca=/a b", "tls://h:1?ca=/a%20b"),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(endpoint.to_string(), expected);
        assert_eq!(expected.parse(), Ok(endpoint));
    }
}

#[cfg(feature = "idn")]
#[test]
fn names_beyond_ascii_are_domain_names() {
    for host in ["münchen.test", "MÜNCHEN.test", "m%C3%BCnchen.test"] {
        let endpoint: Endpoint = format!("ws://{host}/").parse().unwrap();
        assert_eq!(endpoint.to_string(), "ws://xn--mnchen-3ya.test:80/");
    }
    assert_eq!(error("ws://a\u{2dd}/"), EndpointError::BadName("a\u{2dd}".to_owned()), "a space");
    assert_eq!(error("tcp://\u{2060}:1"), EndpointError::BadName("\u{2060}".to_owned()));
}

#[test]
fn credentials_and_paths_stand_for_any_text_and_any_byte() {
    let endpoint: Endpoint = "ws://us%65r:p%3A%40@h".parse().unwrap();
    let credentials = Credentials { user: "user".to_owned(), password: "p:@".to_owned() };
    assert_eq!(endpoint.credentials, Some(credentials));
    assert!(!format!("{endpoint:?}").contains("p:@"));
    let Address::Unix(path) = "unix:///%ff%00"[..11].parse::<Endpoint>().unwrap().address else {
        panic!()
    };
    assert_eq!(AsRef::<[u8]>::as_ref(&path), b"/\xff");
}

#[test]
fn a_websocket_url_keeps_its_query_whatever_its_form() {
    for (text, path) in [("ws://h?token", "/?token"), ("ws://h:1/a?b=c&d", "/a?b=c&d")] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert!(matches!(endpoint.address, Address::Ws(_, got) if got == path), "{text}");
        assert_eq!(endpoint.options, []);
    }
}

#[test]
fn the_last_of_equal_options_holds() {
    let endpoint: Endpoint = "tcp://h:1?framing=line&a=b&framing=text".parse().unwrap();
    assert_eq!(endpoint.option("framing"), Some("text"));
    assert_eq!(endpoint.option("none"), None);
}

#[test]
fn the_path_of_a_unix_socket_is_as_long_as_the_system_takes_it() {
    let path = |len: usize| format!("/{}", "x".repeat(len - 1));
    for scheme in ["unix", "unixgram"] {
        assert!(format!("{scheme}://{}", path(MAX_UNIX_PATH)).parse::<Endpoint>().is_ok());
        let long = format!("{scheme}://{}?mode=600", path(MAX_UNIX_PATH + 1));
        assert_eq!(error(&long), EndpointError::LongPath(MAX_UNIX_PATH + 1));
    }
}

#[test]
fn each_error_names_its_cause() {
    use EndpointError::*;
    assert_eq!(error("7007"), NoScheme);
    assert_eq!(error("127.0.0.1:7007"), NoScheme);
    assert_eq!(error("[::1]:7007"), NoScheme);
    assert_eq!(error("localhost:7007"), NoScheme);
    assert_eq!(error("ftp://h:1"), UnknownScheme("ftp".into()));
    assert_eq!(error("tcp:h:1"), NoSlashes("tcp"));
    assert_eq!(error("tcp://:1"), NoHost);
    assert_eq!(error("tcp://h"), NoPort);
    assert_eq!(error("tcp://h:"), BadPort(String::new()));
    assert_eq!(error("tcp://h:65536"), BadPort("65536".into()));
    assert_eq!(error("tcp://h:+1"), BadPort("+1".into()));
    assert_eq!(error("tcp://::1:7007"), BadHost("::1:7007".into()));
    assert_eq!(error("tcp://[::1:7007"), BadHost("[::1:7007".into()));
    assert_eq!(error("tcp://h:1/path"), StrayPath("/path".into(), "tcp"));
    assert_eq!(error("unix://relative"), NoPath);
    assert_eq!(error("service:"), NoService);
    assert_eq!(error("tcp://h:1?=line"), BadOption("=line".into()));
    assert_eq!(error("tcp://h :1"), BadCharacter);
    assert_eq!(error("ws://h /a"), BadCharacter);
    assert_eq!(error("ws://h/a\tb"), BadCharacter);
    assert_eq!(error("unix:///a\0"), BadCharacter);
    assert_eq!(error(" tcp://h:1"), BadCharacter);
    assert_eq!(error("unix:///a%zz"), BadEscape("/a%zz".into()));
    assert_eq!(error("unix:///a%00"), BadEscape("/a%00".into()));
    assert_eq!(error("tcp://user:pass@h:1"), StrayUser("tcp"));
    for password in ["pa%ss", "p%ff", "p?ss", "p/ss", "p#ss"] {
        assert_eq!(error(&format!("ws://user:{password}@h")), BadCredentials, "{password}");
    }
    assert_eq!(error("ws://h:x/a"), BadPort("x".into()));
    assert_eq!(error("tcp://h:1?header=a%zz"), BadOptionValue("header".into()));
    assert_eq!(error("ws://h/a#b"), Fragment);
    assert_eq!(error("tcp://[h]:1"), BadHost("[h]:1".into()));
    assert_eq!(error("tcp://[fe80::1%]:1"), BadHost("[fe80::1%]:1".into()));
    assert_eq!(error("tcp://a%20b:1"), BadName("a b".into()));
}

#[test]
fn the_options_of_a_websocket_url_follow_a_number_sign() {
    let endpoint = Endpoint::with_options("wss://h/a?b=c#max=2&ca=%23.pem").unwrap();
    assert_eq!(endpoint.address, Address::Wss("h:443".parse().unwrap(), "/a?b=c".into()));
    assert_eq!((endpoint.option("max"), endpoint.option("ca")), (Some("2"), Some("#.pem")));
    assert_eq!(Endpoint::with_options(&endpoint.to_string()), Ok(endpoint));
    let endpoint = Endpoint::with_options("tcp://h:1?max=2").unwrap();
    assert_eq!(endpoint.option("max"), Some("2"));
    assert!(Endpoint::with_options("tcp://h:1#max=2").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_what_it_accepts_it_writes_back(
        text in "((tcp|ws|unix|tls)://)?[/\\[]?\\PC{0,40}",
    ) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
    }
}
