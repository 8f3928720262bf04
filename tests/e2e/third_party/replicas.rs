//! Three replicas behind HAProxy, which are restarted while clients exchange messages: by SIGTERM, as
//! an operator does it, and by SIGKILL.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use echogate_proto::backoff;
use echogate_tests::{
    program::{Program, free_port, programs},
    server::{Server, WAIT_TIMEOUT},
};
use futures_util::{SinkExt, StreamExt};
use tokio::time::sleep;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{ECHOGATE, raise_own_limit};

const REPLICAS: usize = 3;

/// The number of clients, unless `ECHOGATE_CLIENTS` says another one: so many that each replica has
/// more than the 100 that end one after the other.
const CLIENTS: usize = 450;

fn clients() -> usize {
    std::env::var("ECHOGATE_CLIENTS").map_or(CLIENTS, |text| text.parse().expect("a number"))
}

/// The configuration of HAProxy: a replica is used as long as its `/readyz` answers 200.
fn settings(frontend: u16, replicas: [u16; REPLICAS]) -> String {
    let servers = replicas.map(|port| format!("    server r{port} 127.0.0.1:{port} check\n"));
    format!(
        "global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout check 5s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1m
    retries 3
    option redispatch
frontend clients
    bind 127.0.0.1:{frontend}
    default_backend replicas
backend replicas
    balance leastconn
    option httpchk GET /readyz
    default-server inter 100ms fall 1 rise 1
{}",
        servers.concat()
    )
}

fn replica(port: u16) -> Server {
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", &format!("127.0.0.1:{port}"), "--route", "/ws=service:upper"]);
    command.args(["--drain-code", "1012"]);
    command.args(["--drain", "6s", "--drain-delay", "1s"]);
    Server::spawn(command)
}

/// The counts of all clients.
#[derive(Debug, Default)]
struct Counts {
    /// Open connections.
    open: AtomicUsize,
    replies: AtomicUsize,
    /// Connections that ended by a Close 1012.
    restarts: AtomicUsize,
    /// Connections that ended in any other way.
    losses: AtomicUsize,
    /// Attempts to connect that failed.
    refusals: AtomicUsize,
    /// Of these, those whose last message was not answered: it crossed the Close.
    unanswered: AtomicUsize,
    /// The times at which connections opened.
    opened: Mutex<Vec<Instant>>,
    stop: AtomicBool,
}

impl Counts {
    fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn get(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Relaxed)
    }

    /// The numbers that a restart in order leaves at zero: losses and refusals.
    fn failures(&self) -> [usize; 2] {
        [&self.losses, &self.refusals].map(Counts::get)
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Counts) -> bool) {
        let start = Instant::now();
        while !wanted(self) {
            assert!(start.elapsed() < WAIT_TIMEOUT, "never {what}: {self:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Prints how many connections have opened since the last call, and the most in any 100 ms.
    fn report(&self, what: &str) {
        let times = std::mem::take(&mut *self.opened.lock().unwrap());
        let within = |first: &Instant| {
            let end = *first + Duration::from_millis(100);
            times.iter().filter(|time| (first..&end).contains(time)).count()
        };
        let most = times.iter().map(within).max().unwrap_or_default();
        let took = times.last().map(|last| last.duration_since(times[0]));
        println!("{what}: {} connections in {took:.1?}, at most {most} in 100 ms", times.len());
    }

    /// Waits until all clients are connected and each has had another reply, on average.
    fn wait_for_all(&self) {
        self.wait_for("all connected", |counts| Counts::get(&counts.open) == clients());
        let before = Counts::get(&self.replies);
        self.wait_for("replies", |counts| Counts::get(&counts.replies) > before + clients());
    }
}

/// A client that sends a message after each reply, and connects again where its connection ends.
async fn client(number: usize, port: u16, counts: Arc<Counts>) {
    // A part of the clients each, as random numbers would have it.
    let jitter = |turn: usize| (number * 7919 + turn * 104_729) as f64 % 997.0 / 997.0;
    let mut message = 0;
    for turn in 0.. {
        let mut ws = match connect_async(format!("ws://127.0.0.1:{port}/ws")).await {
            Ok((ws, _)) => ws,
            Err(error) => {
                println!("client {number}: {error}");
                Counts::add(&counts.refusals);
                sleep(backoff::delay(1, jitter(turn))).await;
                continue;
            }
        };
        Counts::add(&counts.open);
        counts.opened.lock().unwrap().push(Instant::now());
        let mut is_answered = false;
        let close = loop {
            if counts.stop.load(Ordering::Relaxed) {
                ws.close(None).await.ok();
                return;
            }
            let text = format!("client {number}: {message}");
            if ws.send(Message::text(&*text)).await.is_err() {
                break None;
            }
            match ws.next().await {
                Some(Ok(Message::Text(reply))) => {
                    assert_eq!(*reply, *text.to_uppercase(), "each reply is that of its message");
                    Counts::add(&counts.replies);
                    message += 1;
                }
                Some(Ok(Message::Close(close))) => break close,
                _ => break None,
            }
            tokio::select! {
                () = sleep(Duration::from_millis(100)) => {}
                received = ws.next() => match received {
                    Some(Ok(Message::Close(close))) => {
                        is_answered = true;
                        break close;
                    }
                    _ => break None,
                },
            }
        };
        counts.open.fetch_sub(1, Ordering::Relaxed);
        match close {
            Some(close) if u16::from(close.code) == 1012 => {
                Counts::add(&counts.restarts);
                if !is_answered {
                    Counts::add(&counts.unanswered);
                }
            }
            _ => Counts::add(&counts.losses),
        }
        sleep(backoff::delay(1, jitter(turn))).await;
    }
}

fn haproxy(program: &Path, folder: &Path, frontend: u16, ports: [u16; REPLICAS]) -> Program {
    let file = folder.join("haproxy.cfg");
    fs::write(&file, settings(frontend, ports)).unwrap();
    let mut command = Command::new(program);
    command.arg("-f").arg(&file).arg("-db");
    Program::serve(command, frontend)
}

#[test]
fn replicas_behind_haproxy_are_restarted_in_turn_and_no_client_is_refused_or_cut_off() {
    let Some([program]) = programs(["haproxy"]) else { return };
    raise_own_limit();
    let folder = tempfile::tempdir().unwrap();
    let ports: [u16; REPLICAS] = std::array::from_fn(|_| free_port());
    let mut replicas = ports.map(replica);
    let frontend = free_port();
    let _haproxy = haproxy(&program, folder.path(), frontend, ports);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let counts = Arc::new(Counts::default());
    let clients: Vec<_> = (0..clients())
        .map(|number| runtime.spawn(client(number, frontend, counts.clone())))
        .collect();
    counts.wait_for_all();
    counts.report("start");
    let before = counts.failures();
    for (running, port) in replicas.iter_mut().zip(ports) {
        running.signal("TERM");
        assert_eq!(running.wait().code(), Some(0));
        let log = running.log();
        assert!(!log.iter().any(|line| line.contains("are cut off")), "{log:#?}");
        counts.wait_for_all();
        counts.report("SIGTERM");
        *running = replica(port);
    }
    assert_eq!(counts.failures(), before, "{counts:?}");
    let [restarts, unanswered] = [&counts.restarts, &counts.unanswered].map(Counts::get);
    println!("{restarts} Closes, {unanswered} of them crossed a message");
    assert!(restarts >= clients.len() * 2 / 3, "{counts:?}");

    replicas[0].signal("KILL");
    replicas[0].wait();
    counts.wait_for("connections are lost", |counts| counts.failures()[0] > before[0]);
    counts.wait_for_all();
    counts.report("SIGKILL");
    counts.stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for client in clients {
            client.await.unwrap();
        }
    });
}
