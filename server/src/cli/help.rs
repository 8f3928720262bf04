//! Examples of `--help`, manual pages and shell completions.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Error, printed};
use crate::{terminal::print_to_reader, text::suggest::suggestion};

/// The environment variables of a server that are not settings.
macro_rules! environment {
    () => {
        "

Environment:
  ECHOGATE_LOG   log levels, as debug or warn,echogate::gateway=info [default: RUST_LOG, or info]
  SSLKEYLOGFILE  file to which the secrets of TLS connections are written, for Wireshark"
    };
}

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  echogate                              serve, with the page on http://127.0.0.1:8080/
  echogate connect                      connect to the service upper of that server
  echogate listen 9000                  wait for one client, as nc -l does
  echogate gateway 6080 localhost:5900  make a VNC server available to browsers
  echogate help connect                 show the help of a command
  echogate man | man -l -               show the manual page
  echogate man connect | man -l -       show the manual page of a command",
    environment!()
);

pub(super) const SERVE_EXAMPLES: &str = concat!(
    "\
Examples:
  echogate serve --http 127.0.0.1:9000 --listen upper=tcp://127.0.0.1:9007
  echogate serve --http unix:///run/echogate.sock?mode=660 --base-path /tools/echogate
  echogate serve --route /vnc=tcp://127.0.0.1:5900
  echogate serve --route '/lines=tcp://127.0.0.1:2525?framing=line&newline=crlf'
  echogate serve --console
  echogate serve --tls-cert cert.pem --tls-key key.pem --config echogate.toml",
    environment!()
);

pub(super) const GATEWAY_EXAMPLES: &str = concat!(
    "\
Examples:
  echogate gateway 6080 localhost:5900
  echogate gateway 6080 localhost:5900 --web /usr/share/novnc
  echogate gateway 0.0.0.0:6080 localhost:5900 --cert self.pem --ssl-only
  echogate gateway 0.0.0.0:6080 tls://broker.example:8883",
    environment!()
);

pub(super) const FORWARD_EXAMPLES: &str = "\
Examples:
  echogate forward 5433 wss://gateway.example/db
  echogate forward 0.0.0.0:8022 tcp://server.example:22
  echogate forward udp://127.0.0.1:5353 'tcp://9.9.9.9:53?framing=length&prefix=2'";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  echogate check --config echogate.toml
  echogate check --url ws://localhost:8080/ws --origin http://localhost:8080";

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  echogate bench ws://127.0.0.1:8080/ws --connections 100 --duration 5s
  echogate bench --rate 10000 --json
  echogate bench --once --connections 4 ws://127.0.0.1:8080/ws
  echogate bench --expect echo --size 65536 tls://localhost:7443 --ca cert.pem

Exit status: 0 no error; 1 a connection failed or a reply was wrong; 2 invalid usage.";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  echogate completions bash >~/.local/share/bash-completion/completions/echogate
  echogate completions zsh >~/.zfunc/_echogate
  echogate completions fish >~/.config/fish/completions/echogate.fish";

/// Prints the manual page of a command, or of the whole program.
pub(super) fn print_manual(mut program: Command, name: Option<&str>) -> Result<(), Error> {
    program.build();
    let command = match name {
        None => &program,
        Some(name) => program.find_subcommand(name).ok_or_else(|| {
            let names = program.get_subcommands().map(Command::get_name);
            Error::Usage(format!("no command \"{name}\"{}", suggestion(name, names)))
        })?,
    };
    let page = Man::new(command.clone()).source(concat!("echogate ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    printed(page.render(&mut text).and_then(|()| print_to_reader(&text)))
}

/// Prints the completion script for `shell`.
pub(super) fn print_completions(mut program: Command, shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "echogate", &mut script);
    printed(print_to_reader(&script))
}
