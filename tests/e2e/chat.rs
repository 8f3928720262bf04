//! The service `chat`: clients, operators, and the server's console.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
};

use echogate_proto::chat::{Author, Conversation, Ending, FromOperator, ToOperator};
use echogate_tests::{
    http::connect,
    program::signal,
    pty::Terminal,
    server::Server,
    tcp::{
        connect_with_small_buffer, noise, read_to_end, reset, wait_until_read, wait_until_refused,
        write_until_blocked,
    },
    ws::{self, BROWSER, RawWs, first},
};

use crate::ECHOGATE;

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// A server with `chat` on a port, whose operators know [`TOKEN`].
pub(crate) fn server() -> Server {
    server_with(&["--listen", "chat=tcp://127.0.0.1:0"])
}

/// A server whose operators know [`TOKEN`].
pub(crate) fn server_with(arguments: &[&str]) -> Server {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let token = ["--operator-token-file", file.path().to_str().unwrap()];
    Server::start(ECHOGATE, &[&token[..], arguments].concat())
}

/// A TCP client.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Client {
        Client { stream: BufReader::new(connect(server.address("chat"))) }
    }

    pub(crate) fn peer(&self) -> String {
        self.stream.get_ref().local_addr().unwrap().to_string()
    }

    pub(crate) fn say(&mut self, text: &[u8]) {
        self.stream.get_mut().write_all(text).unwrap();
    }

    /// The next line, without its line break; empty at the end of the stream.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }
}

/// An operator at `/ws/operator`.
pub(crate) struct Operator {
    socket: RawWs,
    pub(crate) id: u64,
    pub(crate) conversations: Vec<Conversation>,
}

impl Operator {
    pub(crate) fn new(server: &Server) -> Operator {
        let mut socket = RawWs::connect(server, "/ws/operator");
        send(&mut socket, &FromOperator::Token { token: TOKEN.to_owned() });
        match receive(&mut socket) {
            ToOperator::Welcome { operator, conversations } => {
                Operator { socket, id: operator, conversations }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn say(&mut self, conversation: u64, text: &str) {
        send(&mut self.socket, &FromOperator::Say { conversation, text: text.to_owned() });
    }

    pub(crate) fn receive(&mut self) -> ToOperator {
        receive(&mut self.socket)
    }

    /// The next event, a new conversation: its number, and its client's address.
    pub(crate) fn receive_opened(&mut self) -> (u64, String) {
        match self.receive() {
            ToOperator::Opened { conversation } => (conversation.id, conversation.peer),
            other => panic!("{other:?}"),
        }
    }

    /// The next event, a message: its conversation, author and text.
    pub(crate) fn receive_said(&mut self) -> (u64, Author, String) {
        match self.receive() {
            ToOperator::Said { conversation, message } => {
                (conversation, message.from, message.text)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn receive_ended(&mut self) -> (u64, Ending) {
        match self.receive() {
            ToOperator::Ended { conversation, ending } => (conversation, ending),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn receive_error(&mut self) -> String {
        match self.receive() {
            ToOperator::Error { text } => text,
            other => panic!("{other:?}"),
        }
    }
}

fn send(socket: &mut RawWs, message: &FromOperator) {
    socket.send_frame(first::TEXT, &serde_json::to_vec(message).unwrap());
}

fn receive(socket: &mut RawWs) -> ToOperator {
    let mut frame = socket.read();
    let mut text = frame.payload;
    assert!(matches!(frame.first, first::TEXT | first::TEXT_BEGINS), "{:#04x}", frame.first);
    while matches!(frame.first, first::TEXT_BEGINS | first::MORE) {
        frame = socket.read();
        text.extend(frame.payload);
    }
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn three_clients_and_two_operators_talk_at_once() {
    let server = server();
    let mut anna = Operator::new(&server);
    let mut ben = Operator::new(&server);
    assert_ne!(anna.id, ben.id);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let client = Client::new(&server);
            let (id, peer) = anna.receive_opened();
            assert_eq!(ben.receive_opened(), (id, client.peer()));
            assert_eq!(peer, client.peer());
            (client, id)
        })
        .collect();
    for (client, id) in &mut clients {
        client.say(format!("I am {id}\n").as_bytes());
        let expected = (*id, Author::Client, format!("I am {id}"));
        assert_eq!(anna.receive_said(), expected);
        assert_eq!(ben.receive_said(), expected);
    }
    // Each client receives the reply to its message, and each operator the other's messages.
    for (i, (client, id)) in clients.iter_mut().enumerate() {
        let answer = format!("hello {id}");
        let (speaker, listener) =
            if i == 1 { (&mut ben, &mut anna) } else { (&mut anna, &mut ben) };
        speaker.say(*id, &answer);
        let expected = (*id, Author::Operator(speaker.id), answer.clone());
        assert_eq!(speaker.receive_said(), expected);
        assert_eq!(listener.receive_said(), expected);
        assert_eq!(client.read_line(), answer);
    }
    let (client, id) = &mut clients[2];
    client.say(b"bye\n");
    assert_eq!(client.read_line(), "", "the end");
    assert_eq!(anna.receive_ended(), (*id, Ending::Client));
    assert_eq!(ben.receive_ended(), (*id, Ending::Client));

    let (client, id) = &mut clients[1];
    ben.say(*id, "bye");
    assert_eq!(client.read_line(), "bye");
    assert_eq!(client.read_line(), "", "the end");
    assert_eq!(anna.receive_said(), (*id, Author::Operator(ben.id), "bye".to_owned()));
    assert_eq!(anna.receive_ended(), (*id, Ending::Operator(ben.id)));
    anna.say(*id, "too late");
    assert_eq!(anna.receive_error(), format!("conversation {id} has ended"));

    let (mut client, id) = clients.swap_remove(0);
    client.say(b"still here\n");
    assert_eq!(anna.receive_said(), (id, Author::Client, "still here".to_owned()));
}

#[test]
fn messages_wait_for_an_operator_and_the_client_gets_a_notice() {
    let server = server();
    let mut client = Client::new(&server);
    client.say(b"anybody?\n");
    assert_eq!(client.read_line(), "* no operator is online; your message is queued");
    for i in 1..150 {
        client.say(format!("number {i}\n").as_bytes());
    }
    // One hundred messages wait; each further one is refused.
    for _ in 0..50 {
        assert_eq!(client.read_line(), "* too many messages are queued; this one was discarded");
    }
    let mut operator = Operator::new(&server);
    let [conversation] = &operator.conversations[..] else { panic!() };
    assert_eq!(conversation.peer, client.peer());
    let texts: Vec<_> = conversation.messages.iter().map(|printed| printed.text.as_str()).collect();
    assert_eq!((texts.len(), texts[0], texts[99]), (100, "anybody?", "number 99"));
    let waiting_since = conversation.waiting_since.unwrap();
    assert!((conversation.since..conversation.since + 60.0).contains(&waiting_since));
    let id = conversation.id;
    operator.say(id, "here I am");
    assert_eq!(client.read_line(), "here I am");
    operator.receive_said();
    client.say(b"good\n");
    assert_eq!(operator.receive_said(), (id, Author::Client, "good".to_owned()));
    assert_eq!(Operator::new(&server).conversations[0].messages.len(), 102);
}

#[test]
fn a_client_that_ends_and_one_that_resets_are_distinguished() {
    let server = server();
    let mut operator = Operator::new(&server);
    let client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(operator.receive_ended(), (id, Ending::Left));

    let client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    reset(client.stream.into_inner());
    assert_eq!(operator.receive_ended(), (id, Ending::Vanished));
    let conversations = Operator::new(&server).conversations;
    let endings: Vec<_> = conversations.iter().map(|conversation| conversation.ending).collect();
    assert_eq!(endings, [Some(Ending::Left), Some(Ending::Vanished)]);
}

#[test]
fn nothing_that_a_terminal_would_act_on_reaches_an_operator() {
    let server = server();
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    operator.receive_opened();
    client.say(b"\x1b[2J\x07red\xff\xfe \xe4\xb8\x96\xe7\x95\x8c \xe2\x80\xae\ttab\r\n");
    let expected = "\\x1b[2J\\x07red\\xff\\xfe 世界 \\u{202e}\\ttab";
    assert_eq!(operator.receive_said().2, expected);
}

#[test]
fn an_invalid_message_is_answered_with_the_reason() {
    let server = server();
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    client.say(&[vec![b'x'; 5000], b"\n".to_vec()].concat());
    assert_eq!(client.read_line(), "* message too long (limit: 4096 bytes); it was not sent");
    // Empty lines are no messages.
    client.say(b"\n  \n\r\nwords\n");
    assert_eq!(operator.receive_said().2, "words");
    // Text without a newline is a message after a pause.
    let mut other = Client::new(&server);
    operator.receive_opened();
    other.say(b"without a newline");
    assert_eq!(operator.receive_said().2, "without a newline");

    operator.say(id + 7, "who?");
    assert_eq!(operator.receive_error(), format!("conversation {} does not exist", id + 7));
    operator.say(id, "two\nlines");
    assert_eq!(operator.receive_error(), "a message must be a single line");
    for nonsense in [
        "nonsense",
        "{}",
        "{\"type\":\"say\"}",
        "{\"type\":\"say\",\"conversation\":-1,\"text\":\"\"}",
    ] {
        operator.socket.send_frame(first::TEXT, nonsense.as_bytes());
        assert!(operator.receive_error().starts_with("invalid request: "), "{nonsense}");
    }
    send(&mut operator.socket, &FromOperator::Token { token: TOKEN.to_owned() });
    assert_eq!(operator.receive_error(), "already authenticated");
    operator.say(id, "after all that");
    assert_eq!(client.read_line(), "after all that");
}

#[test]
fn an_operator_without_the_token_gets_no_data_and_is_closed() {
    let server = server();
    let mut client = Client::new(&server);
    client.say(b"secret\n");
    client.read_line();
    let say = FromOperator::Say { conversation: 1, text: "psst".to_owned() };
    for printed in [
        serde_json::to_string(&FromOperator::Token { token: "wrong".to_owned() }).unwrap(),
        serde_json::to_string(&say).unwrap(),
        "nonsense".to_owned(),
    ] {
        let mut socket = RawWs::connect(&server, "/ws/operator");
        socket.send_frame(first::TEXT, printed.as_bytes());
        let answer = receive(&mut socket);
        assert!(matches!(answer, ToOperator::Error { .. }), "{answer:?}");
        assert_eq!(socket.read().close().0, Some(1000));
    }
    server.wait_for_log(&["operator authentication failed"]);
    assert!(!server.log().iter().any(|line| line.contains(TOKEN) || line.contains("secret")));
}

#[test]
fn a_token_is_made_and_printed_if_none_is_given() {
    let server = Server::start(ECHOGATE, &[]);
    let made = server.printed("operator   token ").expect("it is printed");
    assert_eq!(made.len(), 32);
    let mut socket = RawWs::connect(&server, "/ws/operator");
    send(&mut socket, &FromOperator::Token { token: made });
    assert!(matches!(receive(&mut socket), ToOperator::Welcome { .. }));

    let given = self::server();
    assert_eq!(given.printed("operator   token "), None);
}

#[test]
fn chat_is_spoken_over_websocket_too_and_ends_with_a_reason() {
    let server = server();
    let mut operator = Operator::new(&server);
    let mut page = RawWs::connect(&server, "/ws/chat");
    let (id, peer) = operator.receive_opened();
    assert_eq!(peer, page.stream.local_addr().unwrap().to_string(), "not the gateway's");
    page.send_frame(first::TEXT, "hello, 世界".as_bytes());
    assert_eq!(operator.receive_said(), (id, Author::Client, "hello, 世界".to_owned()));
    operator.say(id, "hello, page");
    let frame = page.read();
    assert_eq!((frame.first, &*frame.payload), (first::TEXT, &b"hello, page"[..]));
    operator.receive_said();
    page.send_frame(first::TEXT, b"bye");
    assert_eq!(page.read().close().0, Some(1000));
    assert_eq!(operator.receive_ended(), (id, Ending::Client));
}

#[test]
fn an_operator_of_another_page_is_refused() {
    let server = server();
    let foreign = ["Origin: http://evil.example", BROWSER];
    let mut page = RawWs::connect_with(&server, "/ws/operator", &foreign);
    assert_eq!(page.read_close().0, Some(1008));
}

#[test]
fn a_client_that_does_not_read_delays_nobody_and_takes_little_memory() {
    let server = server();
    let mut operator = Operator::new(&server);
    let before = server.peak();
    let deaf = connect_with_small_buffer(server.address("chat"));
    let (deaf_id, _) = operator.receive_opened();
    let long = "x".repeat(60_000);
    let mut errors = 0;
    // The socket's buffers take some; then the operator gets an error.
    for _ in 0..2000 {
        operator.say(deaf_id, &long);
        match operator.receive() {
            ToOperator::Said { .. } => {}
            ToOperator::Error { text } => {
                assert_eq!(text, format!("not sent: client {deaf_id} does not read its messages"));
                errors += 1;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(errors, 1);
    let mut client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    operator.say(id, "quick");
    assert_eq!(client.read_line(), "quick");
    let grown = server.peak_growth(before);
    assert!(grown < 40 << 10, "{grown} KiB");
    drop(deaf);
}

#[test]
fn an_operator_who_does_not_read_is_disconnected() {
    let server = server();
    let slow = Operator::new(&server);
    let mut quick = Operator::new(&server);
    let mut client = Client::new(&server);
    quick.receive_opened();
    // More and more, until the sockets and the queue are full.
    let message = [vec![b'z'; 4000], b"\n".to_vec()].concat();
    while !server.log().iter().any(|line| line.contains("does not read its events")) {
        client.say(&message.repeat(50));
        (0..50).for_each(|_| drop(quick.receive_said()));
    }
    drop(slow);
    client.say(b"go on\n");
    while quick.receive_said().2 != "go on" {}
}

#[test]
fn thousands_of_lines_at_once_reach_an_operator_who_reads() {
    const LINES: usize = 3000;
    let server = server();
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    let lines: Vec<u8> = (0..LINES).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    client.say(&lines);
    // Another client's messages arrive, too.
    let mut other = Client::new(&server);
    other.say(b"me too\n");
    let mut received = 0;
    let mut other_is_heard = false;
    while received < LINES || !other_is_heard {
        match operator.receive() {
            ToOperator::Said { conversation, message } if conversation == id => {
                assert_eq!(message.text, received.to_string());
                received += 1;
            }
            ToOperator::Said { message, .. } => {
                assert_eq!(message.text, "me too");
                other_is_heard = true;
            }
            ToOperator::Opened { .. } => {}
            received => panic!("{received:?}"),
        }
    }
    operator.say(id, "enough");
    assert_eq!(client.read_line(), "enough");
    assert!(!server.log().iter().any(|line| line.contains("does not read its events")));
}

#[test]
fn lines_that_wait_for_an_operator_who_stops_reading_reach_the_others() {
    let server = server();
    let stopped = Operator::new(&server);
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    // More than the socket buffers towards the operator that does not read hold.
    let line = [vec![b'z'; 4000], b"\n".to_vec()].concat();
    let lines = 8 << 20 >> 12;
    let writer = client.stream.get_ref().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        (0..lines).for_each(|_| (&writer).write_all(&line).unwrap());
    });
    (0..lines).for_each(|_| assert_eq!(operator.receive_said().0, id));
    sending.join().unwrap();
    server.wait_for_log(&["WARN", "operator disconnected: it does not read its events"]);
    client.say(b"bye\n");
    assert_eq!(operator.receive_ended(), (id, Ending::Client));
    drop(stopped);
}

#[test]
fn clients_that_fill_the_memory_for_messages_leave_a_share_to_others() {
    let server = server();
    let message = [vec![b'z'; 4000], b"\n".to_vec()].concat();
    let mut full = Vec::new();
    for _ in 0..12 {
        let mut client = Client::new(&server);
        client.say(&message.repeat(100));
        assert_eq!(client.read_line(), "* no operator is online; your message is queued");
        wait_until_read(client.stream.get_ref());
        full.push(client);
    }
    let mut client = Client::new(&server);
    client.say(b"hello?\n");
    assert_eq!(client.read_line(), "* no operator is online; your message is queued");
    let operator = Operator::new(&server);
    let conversation = operator.conversations.last().unwrap();
    assert_eq!(conversation.messages[0].text, "hello?");
    // The clients with the most messages are notified that theirs were dropped.
    assert!(full[0].read_line().starts_with("* too many messages of all clients are queued"));
}

#[test]
fn a_client_that_compares_what_it_receives_with_bye_sees_it() {
    let server = server();
    let mut operator = Operator::new(&server);
    // As in tutorials: the result of one `recv` is a reply, and "bye" is the end.
    let mut client = connect(server.address("chat"));
    let (id, _) = operator.receive_opened();
    let mut buffer = [0; 1024];
    for (question, answer) in [("hello", "hello to you\n"), ("is that all?", "bye")] {
        client.write_all(question.as_bytes()).unwrap();
        assert_eq!(operator.receive_said().2, question);
        operator.say(id, answer.trim_end());
        operator.receive_said();
        let len = client.read(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..len]).unwrap(), answer);
    }
    assert_eq!(client.read(&mut buffer).unwrap(), 0, "and then the end");
    assert_eq!(operator.receive_ended(), (id, Ending::Operator(operator.id)));

    let mut page = RawWs::connect(&server, "/ws/chat");
    let (id, _) = operator.receive_opened();
    operator.say(id, "bye");
    // The line's end is unknown before the end of the stream: fragments.
    let frame = page.read();
    assert_eq!((frame.first, &*frame.payload), (first::TEXT_BEGINS, &b"bye"[..]));
    assert_eq!(page.read().payload, b"");
    assert_eq!(page.read().close().0, Some(1000));
}

#[test]
fn a_drain_ends_conversations_and_tells_the_operators() {
    let mut server = server();
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    operator.receive_opened();
    client.say(b"last words\n");
    operator.receive_said();
    server.signal("TERM");
    let close = loop {
        let frame = operator.socket.read();
        if frame.first == first::CLOSE {
            break frame;
        }
    };
    assert_eq!(close.close().0, Some(1001));
    operator.socket.send(&ws::close(1001, ""));
    assert_eq!(client.read_line(), "");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn chat_once_ends_with_the_operators_answer() {
    let server = server_with(&["--listen", "chat=tcp://127.0.0.1:0?once"]);
    let mut operator = Operator::new(&server);
    let mut client = Client::new(&server);
    let (id, _) = operator.receive_opened();
    client.say(b"question");
    assert_eq!(operator.receive_said().2, "question");
    operator.say(id, "answer");
    assert_eq!(read_to_end(&mut client.stream), b"answer\n");
}

/// A server with an operator's console on its terminal.
fn console() -> (Terminal, String) {
    let listen = ["--http", "127.0.0.1:0", "--listen", "chat=tcp://127.0.0.1:0"];
    let terminal = Terminal::start(ECHOGATE, &[&["serve", "--console"], &listen[..]].concat());
    terminal.wait_for("listening  chat   tcp://");
    let shown = terminal.wait_for("\n");
    terminal.wait_for("type @? for help");
    terminal.wait_for("> ");
    (terminal, shown.trim().to_owned())
}

fn client_of(address: &str) -> Client {
    Client { stream: BufReader::new(connect(address)) }
}

#[test]
fn an_operator_at_the_servers_terminal_answers_each_client() {
    let (terminal, address) = console();
    terminal.exchange("hello?\r", "no open conversations\n> ");
    let mut first = client_of(&address);
    terminal.wait_for(&format!("[1] {} connected\n> ", first.peer()));
    first.say(b"hi, I am first\n");
    terminal.wait_for("[1] hi, I am first\n> ");
    terminal.exchange("hello, first\r", "[1] you: hello, first\n> ");
    assert_eq!(first.read_line(), "hello, first");

    let mut second = client_of(&address);
    terminal.wait_for("[2] ");
    second.say(b"\x1b[2Jme too\n");
    terminal.wait_for("[2] \\x1b[2Jme too\n> ");
    terminal.exchange("@\r", " [1] ");
    let listed = terminal.wait_for("\n> ");
    assert!(listed.contains(" [2] ") && listed.contains(", waiting for "), "{listed}");
    terminal.exchange("@2 one moment\r", "[2] you: one moment\n> ");
    assert_eq!(second.read_line(), "one moment");
    // Incoming messages do not disturb the line being typed.
    terminal.exchange("so", "so");
    first.say(b"still there?\n");
    terminal.wait_for("[1] still there?\n> so");
    terminal.exchange("rry\r", "[2] you: sorry\n> ");
    assert_eq!(second.read_line(), "sorry");
    // The previous line comes back.
    terminal.exchange("\x1b[A\r", "[2] you: sorry\n> ");
    terminal.exchange("@1 bye\r", "[1] you ended the conversation\n> ");
    assert_eq!(read_to_end(&mut first.stream), b"bye");
    reset(second.stream.into_inner());
    terminal.wait_for("[2] the connection to the client was lost");
    terminal.wait_for("> ");
    interrupt_server(terminal);
}

/// Types Ctrl-C; asserts that the server ends with success and restores the terminal.
fn interrupt_server(terminal: Terminal) {
    terminal.type_in("\x03");
    terminal.wait_for_canonical_mode(true);
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(!shown.contains("panicked"), "{shown}");
}

#[test]
fn a_console_that_is_closed_leaves_the_server_serving() {
    let (terminal, address) = console();
    terminal.exchange("\x04", "console closed; the server is still running\n");
    let mut client = client_of(&address);
    client.say(b"anybody?\n");
    assert_eq!(client.read_line(), "* no operator is online; your message is queued");
    interrupt_server(terminal);
}

#[test]
fn a_console_gives_the_terminal_back_at_the_second_signal() {
    let listen = ["--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"];
    let arguments = [&["serve", "--console", "--drain", "1h"], &listen[..]].concat();
    let terminal = Terminal::start(ECHOGATE, &arguments);
    terminal.wait_for("listening  upper  tcp://");
    let address = terminal.wait_for("\n").trim().to_owned();
    terminal.wait_for_canonical_mode(false);
    // A client that delays the server's exit.
    let mut deaf = connect_with_small_buffer(&address);
    write_until_blocked(&mut deaf, &noise(64 << 20));
    signal(terminal.pid(), "TERM");
    wait_until_refused(&address);
    signal(terminal.pid(), "TERM");
    terminal.wait_for_canonical_mode(true);
    assert_eq!(terminal.wait().0.code(), Some(1));
}

#[test]
fn a_console_needs_a_terminal() {
    let output = std::process::Command::new(ECHOGATE)
        .args(["serve", "--console"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "echogate: --console needs a terminal on standard input and standard output\n"
    );
}
