//! Programs that send a message to an endpoint and print the reply, to be copied.

use crate::{format, json::quote, literal::Form, payload::Payload};

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snippet {
    /// `nc`, to a listener of the service behind the endpoint.
    Nc,
    /// `websocat`.
    Websocat,
    /// `echogate connect`.
    Connect,
    /// Python with the package `websockets`.
    Python,
    /// JavaScript in a browser, or in Node.js 22 and later.
    JavaScript,
}

/// A reason why a program cannot send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// The service behind the endpoint has no TCP listener, which `nc` needs.
    NoListener,
    /// The message is empty, and so would be the program's input.
    Empty,
    /// The program sends each line of a text as a message.
    Lines,
}

/// The endpoint to which a program sends.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The URL, `ws://` or `wss://`.
    pub url: &'a str,
    /// The subprotocols to offer.
    pub protocols: &'a [String],
    /// Host and port of a TCP listener of the service behind the endpoint.
    pub listener: Option<(&'a str, &'a str)>,
}

impl Snippet {
    /// All programs.
    pub const ALL: [Snippet; 5] =
        [Snippet::Nc, Snippet::Websocat, Snippet::Connect, Snippet::Python, Snippet::JavaScript];

    /// The name, in program text and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Snippet::Nc => "nc",
            Snippet::Websocat => "websocat",
            Snippet::Connect => "echogate connect",
            Snippet::Python => "Python",
            Snippet::JavaScript => "JavaScript (browser, Node 22)",
        }
    }

    /// The program text.
    ///
    /// # Errors
    ///
    /// The program cannot send the message.
    pub fn write(self, target: &Target<'_>, payload: &Payload) -> Result<String, Unsendable> {
        let Target { url, protocols, listener } = *target;
        let printed = printf(payload);
        let is_text = matches!(payload, Payload::Text(_));
        Ok(match self {
            Snippet::Nc => {
                let (host, port) = listener.ok_or(Unsendable::NoListener)?;
                format!("{printed} | nc -N {host} {port}")
            }
            Snippet::Websocat if payload.is_empty() => return Err(Unsendable::Empty),
            Snippet::Websocat => {
                let mode = if is_text { "--text --no-line" } else { "--binary" };
                let offer = match protocols {
                    [] => String::new(),
                    _ => format!(" --protocol {}", shell(&format::joined(protocols, ","))),
                };
                format!("{printed} | websocat {mode} -n1{offer} {}", shell(url))
            }
            Snippet::Connect => {
                let mode = match is_text {
                    true if payload.is_empty() => return Err(Unsendable::Empty),
                    true if payload.bytes().contains(&b'\n') => return Err(Unsendable::Lines),
                    true => "",
                    false => " --binary",
                };
                let offers = protocols.iter().map(|name| format!(" --subprotocol {}", shell(name)));
                let offers: String = offers.collect();
                format!("{printed} | echogate connect{mode}{offers} {}", shell(url))
            }
            Snippet::Python => python(url, protocols, payload),
            Snippet::JavaScript => javascript(url, protocols, payload),
        })
    }
}

fn python(url: &str, protocols: &[String], payload: &Payload) -> String {
    let message = match payload {
        Payload::Text(text) => quoted(text),
        Payload::Binary(_) => Form::Python.write(payload).unwrap_or_default(),
    };
    let offer = match protocols {
        [] => String::new(),
        _ => format!(", subprotocols={}", list(protocols)),
    };
    format!(
        "from websockets.sync.client import connect\n\nwith connect({}{offer}) as socket:\n    \
         socket.send({message})\n    print(socket.recv())\n",
        quoted(url)
    )
}

fn javascript(url: &str, protocols: &[String], payload: &Payload) -> String {
    let message = match payload {
        Payload::Text(text) => quoted(text),
        Payload::Binary(bytes) => {
            let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
            format!("new Uint8Array([{}])", format::joined(&bytes, ", "))
        }
    };
    let offer = if protocols.is_empty() { String::new() } else { format!(", {}", list(protocols)) };
    format!(
        "const socket = new WebSocket({}{offer});\nsocket.binaryType = \"arraybuffer\";\n\
         socket.onopen = () => socket.send({message});\nsocket.onmessage = ({{ data }}) => {{\n  \
         console.log(typeof data === \"string\" ? data : new Uint8Array(data));\n  \
         socket.close();\n}};\n",
        quoted(url)
    )
}

/// A string literal of Python, JavaScript and JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    quote(text, &mut quoted);
    quoted
}

fn list(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", format::joined(&names, ", "))
}

/// A word of a POSIX shell, in quotes where it needs them.
fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:.-_=,@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A `printf` of POSIX that writes these bytes.
fn printf(payload: &Payload) -> String {
    let mut format = String::new();
    let mut add = |byte: u8| match byte {
        b'\n' => format.push_str(r"\n"),
        b'\r' => format.push_str(r"\r"),
        b'\t' => format.push_str(r"\t"),
        b'\\' => format.push_str(r"\\"),
        b'%' => format.push_str("%%"),
        b'\'' => format.push_str(r"'\''"),
        // An option begins with a dash.
        b'-' if format.is_empty() => format.push_str(r"\055"),
        b' '..=b'~' => format.push(char::from(byte)),
        _ => format.push_str(&format!("\\{byte:03o}")),
    };
    payload.bytes().iter().copied().for_each(&mut add);
    format!("printf '{format}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> =
        Target { url: "ws://h/ws", protocols: &[], listener: Some(("127.0.0.1", "7007")) };

    fn lines(payload: &Payload) -> Vec<Result<String, Unsendable>> {
        Snippet::ALL[..3].iter().map(|snippet| snippet.write(&TARGET, payload)).collect()
    }

    #[test]
    fn a_message_is_quoted_for_the_shell() {
        let some = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines(&"it's 5% \\".into()),
            [
                some(r"printf 'it'\''s 5%% \\' | nc -N 127.0.0.1 7007"),
                some(r"printf 'it'\''s 5%% \\' | websocat --text --no-line -n1 ws://h/ws"),
                some(r"printf 'it'\''s 5%% \\' | echogate connect ws://h/ws"),
            ]
        );
        assert_eq!(
            lines(&vec![b'-', 0, b'\n', 0xff].into())[1..],
            [
                some(r"printf '\055\000\n\377' | websocat --binary -n1 ws://h/ws"),
                some(r"printf '\055\000\n\377' | echogate connect --binary ws://h/ws"),
            ]
        );
        assert_eq!(lines(&"a\nb".into())[2], Err(Unsendable::Lines));
        assert_eq!(lines(&"".into())[1..], [Err(Unsendable::Empty), Err(Unsendable::Empty)]);
    }

    #[test]
    fn programs_offer_the_subprotocols() {
        let protocols = ["binary".to_owned(), "x y".to_owned()];
        let target = Target { url: "ws://h/?a=1&b", protocols: &protocols, listener: None };
        let write = |snippet: Snippet| snippet.write(&target, &"\"hi\"".into());
        assert_eq!(write(Snippet::Nc), Err(Unsendable::NoListener));
        let websocat = write(Snippet::Websocat).unwrap();
        assert!(websocat.ends_with("--protocol 'binary,x y' 'ws://h/?a=1&b'"), "{websocat}");
        let python = write(Snippet::Python).unwrap();
        assert!(python.contains(r#"subprotocols=["binary", "x y"]"#), "{python}");
        assert!(python.contains(r#"socket.send("\"hi\"")"#), "{python}");
        let javascript = write(Snippet::JavaScript).unwrap();
        assert!(javascript.contains(r#"("ws://h/?a=1&b", ["binary", "x y"])"#), "{javascript}");
        let bytes = Snippet::JavaScript.write(&target, &vec![0, 255].into()).unwrap();
        assert!(bytes.contains("new Uint8Array([0, 255])"), "{bytes}");
    }
}
