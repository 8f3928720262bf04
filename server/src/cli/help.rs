//! What the program tells of its own command line: help, manual pages, completions.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::text::suggest;

pub(crate) const EXAMPLES: &str = "\
Examples:
  echogate                              serve: the page is on http://127.0.0.1:8080/
  echogate connect                      talk to its service upper
  echogate gateway 6080 localhost:5900  a VNC server in the browser
  echogate help connect                 more on a command
  echogate help man | man -l -          the manual page";

pub(crate) const SERVE_EXAMPLES: &str = "\
Examples:
  echogate serve --http 127.0.0.1:9000 --listen upper=tcp://127.0.0.1:9007
  echogate serve --route /vnc=tcp://127.0.0.1:5900
  echogate serve --route '/lines=tcp://127.0.0.1:2525?framing=line&newline=crlf'
  echogate serve --console
  echogate serve --tls-cert cert.pem --tls-key key.pem --config echogate.toml";

pub(crate) const GATEWAY_EXAMPLES: &str = "\
Examples:
  echogate gateway 6080 localhost:5900
  echogate gateway 0.0.0.0:6080 tls://broker.example:8883";

pub(crate) const CHECK_EXAMPLES: &str = "\
Examples:
  echogate check --config echogate.toml
  echogate check --url ws://localhost:8080/ws --origin http://localhost:8080";

pub(crate) const BENCH_EXAMPLES: &str = "\
Examples:
  echogate bench ws://127.0.0.1:8080/ws --connections 100 --duration 5s
  echogate bench --rate 10000 --json
  echogate bench --once --connections 4 ws://127.0.0.1:8080/ws
  echogate bench --expect echo --size 65536 tls://localhost:7443 --ca cert.pem";

pub(crate) const HELP_EXAMPLES: &str = "\
Examples:
  echogate help connect
  echogate help man | man -l -
  echogate help man connect >echogate-connect.1";

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  echogate completions bash >~/.local/share/bash-completion/completions/echogate
  echogate completions zsh >~/.zfunc/_echogate
  echogate completions fish >~/.config/fish/completions/echogate.fish";

/// The command line of `echogate help`.
#[derive(clap::Args, Debug)]
#[command(override_usage = "echogate help [man] [COMMAND]")]
pub(crate) struct Args {
    /// What help is wanted on; with `man` in front, its manual page in the format of man
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

impl Args {
    /// Shows it on the standard output. `program` is the whole command line.
    ///
    /// # Errors
    ///
    /// When there is no such command, or the output fails.
    pub(crate) fn show(self, mut program: Command) -> Result<(), Error> {
        program.build();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if let ["man", names @ ..] = &words[..] {
            let page = Man::new(find(&program, names)?.clone());
            let page = page.source(concat!("echogate ", env!("CARGO_PKG_VERSION")));
            let mut text = Vec::new();
            page.render(&mut text).map_err(Error::Output)?;
            return print(&text).map_err(Error::Output);
        }
        find(&program, &words)?;
        // What `--help` shows, which is not always the long form.
        let line = [&["echogate"], &words[..], &["--help"]].concat();
        if let Err(help) = program.try_get_matches_from(line) {
            return help.print().and_then(|()| io::stdout().flush()).map_err(Error::Output);
        }
        Ok(())
    }
}

/// Why help is not shown.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no such command, in words.
    Unknown(String),
    /// The standard output failed.
    Output(io::Error),
}

impl From<String> for Error {
    fn from(unknown: String) -> Error {
        Error::Unknown(unknown)
    }
}

/// Writes `text` to the standard output, all of it.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// The command of that name, in at most one word; without a name the whole program.
fn find<'a>(program: &'a Command, names: &[&str]) -> Result<&'a Command, String> {
    let name = match names {
        [] => return Ok(program),
        [name] => name,
        [name, more, ..] => return Err(format!("\"{more}\" after \"{name}\": expected nothing")),
    };
    program.find_subcommand(name).ok_or_else(|| {
        let tip = suggest::tip(name, program.get_subcommands().map(Command::get_name));
        format!("no command \"{name}\"{tip}")
    })
}

/// Prints what makes `shell` complete the arguments of `program`.
pub(crate) fn complete(mut program: Command, shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "echogate", &mut script);
    print(&script)
}
