//! `echogate tap`: the events of a connection of a running server, in the terminal.
//!
//! - `api`: requests to the server's API
//! - `output`: events as lines

mod api;
mod output;

use std::{
    collections::HashSet,
    io::{self, Write},
    path::PathBuf,
};

use echogate_proto::{
    api::Connection,
    endpoint::{Endpoint, EndpointError},
    recording::{Event, Record},
};

use self::{
    api::Api,
    output::{Format, Output},
};
use super::{Error, target_endpoint::TargetEndpoint, warn_of_unsafe_tls};
use crate::{
    terminal,
    text::{escape::escape, io_error::describe},
};

/// The command line of `echogate tap`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The HTTP address of the server (http://HOST:PORT, https://HOST, HOST:PORT or unix:///PATH)
    /// [default: http://127.0.0.1:8080], and the ID of the connection. Without an ID, show the only
    /// connection, or list all
    #[arg(value_name = "URL|ID", num_args = 0..=2)]
    target: Vec<String>,

    /// Wait for the next connection, and show it
    #[arg(long)]
    any: bool,

    /// The side of the connection to show
    #[arg(long, value_name = "SIDE", default_value = "both")]
    #[arg(value_parser = ["client", "upstream", "both"])]
    side: String,

    /// Show payload in hexadecimal
    #[arg(long, conflicts_with = "json")]
    hex: bool,

    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,

    /// The token of the operators of chat, which a server on another machine requires
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// Trust the root certificates in this PEM file instead of those of the system (TLS)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Do not verify the server's certificate (TLS): anyone who answers gets the token
    #[arg(long, short = 'k', conflicts_with = "ca")]
    insecure: bool,
}

const EXAMPLES: &str = "\
Examples:
  echogate tap                        show the only connection, or list all
  echogate tap 7 --hex                show connection 7 of the server on this machine
  echogate tap --any --side client    show the next client
  echogate tap unix:///run/echogate.sock 7 --json
  echogate tap https://gate.example 7 --token TOKEN

Exit status: 0 the connection has ended; 1 the server refused or ended the tap; 2 invalid usage.";

/// The address of the server if none is given.
const DEFAULT: &str = "http://127.0.0.1:8080";

/// Runs `echogate tap`.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let (server, id) = target(&args.target).map_err(Error::Usage)?;
    let url = shown(&server);
    let failed = |error: String| Error::Failed(format!("{url}: {error}"));
    if id.is_some() && args.any {
        return Err(Error::Usage("--any has no effect with the ID of a connection".to_owned()));
    }
    let api = Api::new(&server, args.ca.as_deref(), args.insecure, args.token.as_deref());
    let api = api.map_err(|error| Error::Usage(format!("{url}: {error}")))?;
    warn_of_unsafe_tls(args.insecure);
    let id = match id {
        Some(id) => id.to_string(),
        None if args.any => "next".to_owned(),
        None => {
            let open: Vec<Connection> = api.get("api/connections").await.map_err(failed)?;
            match clients(&open)[..] {
                [only] => only.id.to_string(),
                _ => return print(&list(&open)).map(drop),
            }
        }
    };
    let path = format!("api/connections/{id}/tap?side={}", args.side);
    let mut events = api.events(&path).await.map_err(failed)?;
    if args.any {
        writeln!(io::stderr(), "echogate: waiting for the next connection").ok();
    }
    let format = match (args.json, args.hex) {
        (true, _) => Format::Json,
        (_, true) => Format::Hex,
        _ => Format::Text,
    };
    let mut output = Output::new(format);
    while let Some(record) = events.next::<Record>().await.map_err(failed)? {
        let has_reader = print(&output.lines(&record))?;
        if !has_reader || matches!(record.event, Event::Closed { .. }) {
            return Ok(());
        }
    }
    Err(failed("the server has ended the tap before the end of the connection".to_owned()))
}

/// The server and the connection that the arguments name.
fn target(arguments: &[String]) -> Result<(Endpoint, Option<u64>), String> {
    let is_id = |text: &&String| text.bytes().all(|byte| byte.is_ascii_digit());
    let (ids, urls): (Vec<_>, Vec<_>) = arguments.iter().partition(is_id);
    let url = urls.first().map_or(DEFAULT, |url| url);
    if ids.len() > 1 || urls.len() > 1 {
        let what = if ids.len() > 1 { "one ID" } else { "one URL" };
        return Err(format!("expected {what}: {}", escape(&arguments.join(" "))));
    }
    let id =
        ids.first().map(|id| id.parse().map_err(|_| format!("{id} is not the ID of a connection")));
    let wrong = |error: EndpointError| format!("{}: {error}", escape(url));
    let endpoint: TargetEndpoint = url.parse().map_err(wrong)?;
    Ok((endpoint.with_port(None)?, id.transpose()?))
}

/// The URL of a server for errors.
fn shown(server: &Endpoint) -> String {
    let url = super::shown_url(server);
    match url.split_once("://") {
        Some(("ws" | "tcp", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => url,
    }
}

/// The connections without hairpins.
fn clients(open: &[Connection]) -> Vec<&Connection> {
    let upstreams: HashSet<&str> =
        open.iter().filter_map(|it| it.upstream_from.as_deref()).collect();
    let is_client =
        |it: &&Connection| it.peer.as_deref().is_none_or(|peer| !upstreams.contains(peer));
    open.iter().filter(is_client).collect()
}

/// A table of connections.
fn list(open: &[Connection]) -> String {
    if open.is_empty() {
        return "no open connections (--any waits for the next one)\n".to_owned();
    }
    let mut rows =
        vec![["ID", "KIND", "PEER", "TARGET", "AGE", "RECEIVED", "SENT"].map(String::from)];
    rows.extend(open.iter().map(|connection| {
        [
            connection.id.to_string(),
            connection.kind.to_string(),
            escape(connection.peer.as_deref().unwrap_or("-")),
            escape(&connection.target),
            format!("{:.0}s", connection.age),
            connection.carried.bytes_received.to_string(),
            connection.carried.bytes_sent.to_string(),
        ]
    }));
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[String; 7]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            format!("{cell:width$}")
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn print(text: &str) -> Result<bool, Error> {
    let printed = terminal::print_to_reader(text);
    printed.map_err(|error| Error::Failed(format!("standard output: {}", describe(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_and_a_connection_are_named_in_either_order() {
        for (arguments, url, id) in [
            (&[][..], "ws://127.0.0.1:8080/", None),
            (&["7"], "ws://127.0.0.1:8080/", Some(7)),
            (&["http://gate.example", "7"], "ws://gate.example:80/", Some(7)),
            (&["7", "unix:///run/x.sock"], "unix:///run/x.sock", Some(7)),
            (&["localhost:80"], "tcp://localhost:80", None),
        ] {
            let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
            let (server, found) = target(&arguments).unwrap();
            assert_eq!((server.to_string().as_str(), found), (url, id), "{arguments:?}");
        }
        for wrong in [&["1", "2"][..], &["a:1", "b:2"], &["localhost"], &["99999999999999999999"]] {
            let arguments: Vec<_> = wrong.iter().map(|it| (*it).to_owned()).collect();
            target(&arguments).unwrap_err();
        }
    }
}
