//! PostgreSQL, Redis, OpenSSH and DNS through forwards to WebSocket routes and back to the servers.

use std::process::Command;

use echogate_tests::{
    program::{Program, free_port, programs, run},
    server::Server,
};

use super::{postgres::Cluster, shell, ssh::Sshd};
use crate::ECHOGATE;

/// A gateway with the route `/x` to `upstream`, and a server that forwards a socket to that
/// route. `listen` is the socket, and `options` are those of the forward's URL.
fn there_and_back(upstream: &str, listen: &str, options: &str) -> (Server, Server) {
    let back = Server::start(ECHOGATE, &["--route", &format!("/x={upstream}")]);
    let forward = format!("{listen}={}{options}", back.ws("/x"));
    let front = Server::start(ECHOGATE, &["--forward", &forward]);
    (front, back)
}

fn port(server: &Server) -> String {
    server.address("forward").rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn psql_reaches_a_database_behind_a_websocket() {
    let Some([psql]) = programs(["psql"]) else { return };
    let Some(cluster) = Cluster::start() else { return };
    let upstream = format!("tcp://127.0.0.1:{}", cluster.port);
    let (front, _back) = there_and_back(&upstream, "127.0.0.1:0", "");
    let mut command = Command::new(psql);
    command.args(["-h", "127.0.0.1", "-p", &port(&front), "-U", "postgres", "-At", "-c"]);
    command.arg("select sum(x), md5(string_agg(x::text, ',')) from generate_series(1, 100000) x");
    assert_eq!(run(command).trim(), "5000050000|63ce0dadc39034dfd82b3b5979b82fbb");
}

#[test]
fn redis_cli_works_through_a_forward_and_a_pipe_of_100000_commands_arrives() {
    let Some([server, cli]) = programs(["redis-server", "redis-cli"]) else { return };
    let at = free_port();
    let mut command = Command::new(server);
    command.args(["--port", &at.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    let _redis = Program::serve(command, at);
    let (front, _back) = there_and_back(&format!("tcp://127.0.0.1:{at}"), "127.0.0.1:0", "");
    let redis = |arguments: &[&str]| {
        let mut command = Command::new(&cli);
        command.args(["-p", &port(&front)]).args(arguments);
        run(command)
    };
    assert_eq!(redis(&["ping"]).trim(), "PONG");
    assert_eq!(
        redis(&["eval", "for i = 1, 100000 do redis.call('rpush', 'l', i) end", "0"]).trim(),
        ""
    );
    assert_eq!(redis(&["lrange", "l", "0", "-1"]).lines().count(), 100_000);
}

#[test]
fn scp_works_through_a_forward() {
    let Some(sshd) = Sshd::start() else { return };
    let upstream = format!("tcp://127.0.0.1:{}", sshd.port);
    let (front, _back) = there_and_back(&upstream, "127.0.0.1:0", "");
    // The host name is that of no machine: ssh connects to the forward instead.
    let connect = format!("ProxyCommand=nc 127.0.0.1 {}", port(&front));
    if programs(["nc"]).is_some() {
        sshd.copy_there_and_back(&connect);
    }
}

#[test]
fn dig_asks_over_udp_and_tcp_through_every_pair_of_sides() {
    let Some([dig, dnsmasq]) = programs(["dig", "dnsmasq"]) else { return };
    let dns = free_port();
    let mut command = Command::new(dnsmasq);
    command.args(["--no-daemon", "--no-resolv", "--no-hosts", "--bind-interfaces", "--conf-file="]);
    command.args(["--listen-address=127.0.0.1", &format!("--port={dns}"), "--user=", "--group="]);
    command.arg("--address=/example.test/192.0.2.7");
    let _dns = Program::serve(command, dns);
    let ask = |server: &Server, over: &str| {
        let mut command = Command::new(&dig);
        command.args(["@127.0.0.1", "-p", &port(server), over, "+short", "+tries=3"]);
        command.args(["+time=10", "www.example.test", "A"]);
        run(command)
    };
    let (udp, tcp) = (format!("udp://127.0.0.1:{dns}"), format!("tcp://127.0.0.1:{dns}"));
    let in_length = "?framing=length&prefix=2";
    let alone = |listen: &str, url: &str| {
        Server::start(ECHOGATE, &["--forward", &format!("{listen}={url}")])
    };
    for (listen, url, over) in [
        ("udp://127.0.0.1:0", udp.clone(), "+notcp"),
        ("127.0.0.1:0", tcp.clone(), "+tcp"),
        ("udp://127.0.0.1:0", format!("{tcp}{in_length}"), "+notcp"),
        ("127.0.0.1:0", format!("{udp}{in_length}"), "+tcp"),
    ] {
        assert_eq!(ask(&alone(listen, &url), over).trim(), "192.0.2.7", "{listen} {url}");
    }
    for (upstream, listen, options, over) in [
        (udp.clone(), "udp://127.0.0.1:0", "", "+notcp"),
        (format!("{tcp}{in_length}"), "udp://127.0.0.1:0", "", "+notcp"),
        (udp, "127.0.0.1:0", "#framing=length&prefix=2", "+tcp"),
        (tcp, "127.0.0.1:0", "", "+tcp"),
    ] {
        let (front, _back) = there_and_back(&upstream, listen, options);
        assert_eq!(ask(&front, over).trim(), "192.0.2.7", "{listen} {upstream}");
    }
}

#[test]
fn nc_ncat_and_socat_speak_to_every_kind_of_socket() {
    let Some([nc, ncat, socat]) = programs(["nc", "ncat", "socat"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let unix = folder.path().join("front").display().to_string();
    let back = Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0"]);
    let udp = back.urls("upper").find(|url| url.starts_with("udp:")).unwrap();
    let front = Server::start(
        ECHOGATE,
        &[
            "--forward",
            &format!("127.0.0.1:0={}", back.ws("/ws")),
            "--forward",
            &format!("unix://{unix}={}", back.url("upper")),
            "--forward",
            &format!("udp://127.0.0.1:0={udp}"),
        ],
    );
    let urls: Vec<String> = front.urls("forward").collect();
    let port_of = |url: &str| url.rsplit_once(':').unwrap().1.to_owned();
    let (nc, ncat, socat) = (nc.display(), ncat.display(), socat.display());
    for line in [
        format!("printf hello | {nc} -N 127.0.0.1 {}", port_of(&urls[0])),
        format!("printf hello | {ncat} 127.0.0.1 {}", port_of(&urls[0])),
        format!("printf hello | {ncat} -U {unix}"),
        format!("printf hello | {socat} - TCP:127.0.0.1:{}", port_of(&urls[0])),
        format!("printf hello | {nc} -N -U {unix}"),
        format!("printf hello | {socat} - UNIX-CONNECT:{unix}"),
        format!("printf hello | {nc} -u -w 1 127.0.0.1 {}", port_of(&urls[2])),
        format!("printf hello | {socat} -T 1 - UDP:127.0.0.1:{}", port_of(&urls[2])),
    ] {
        assert_eq!(shell(&line), "HELLO", "{line}");
    }
}
