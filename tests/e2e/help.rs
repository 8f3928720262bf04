//! Help, manual pages, completions, and colours.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use echogate_tests::pty::Terminal;

use crate::ECHOGATE;

const COMMANDS: [&str; 9] =
    ["serve", "gateway", "check", "connect", "listen", "replay", "compare", "bench", "completions"];

fn run(arguments: &[&str]) -> Output {
    Command::new(ECHOGATE).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The standard output of a successful run, with the program's name as `echogate`.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap().replace("echogate-under-test", "echogate")
}

/// The error line of a usage error, which has exit status 2.
#[track_caller]
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    stderr.trim_end().to_owned()
}

#[test]
fn each_command_has_its_help_with_examples() {
    for command in COMMANDS {
        let help = printed(&["help", command]);
        assert!(help.contains("Usage: echogate ") && help.contains("Example"), "{help}");
        assert_eq!(help, printed(&[command, "--help"]));
        assert!(printed(&[command, "-h"]).contains("Example"));
    }
    let help = printed(&["help"]);
    assert_eq!(help, printed(&["--help"]));
    assert!(COMMANDS.iter().all(|command| help.contains(&format!("\n  {command}"))), "{help}");
}

#[test]
fn a_flag_that_a_command_refuses_is_not_in_its_help() {
    for (command, refused) in [
        ("gateway", &["--http ", "--listen ", "--route ", "--forward "][..]),
        ("forward", &["--listen ", "--route ", "--forward "]),
    ] {
        let help = printed(&[command, "--help"]);
        for flag in refused {
            assert!(!help.contains(&format!("      {flag}")), "{command}: {flag} in {help}");
        }
    }
}

#[test]
fn paragraphs_of_the_help_are_filled_lines_on_a_terminal_of_any_width() {
    const WIDTH: usize = 60;
    for command in COMMANDS {
        let mut help = Command::new(ECHOGATE);
        help.args([command, "--help"]).env("COLUMNS", WIDTH.to_string()).stdin(Stdio::null());
        let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
        let lines: Vec<_> = help.lines().collect();
        for two in lines.windows(2) {
            let [line, next] = two else { unreachable!("there are two") };
            let is_prose = |line: &str| line.starts_with(|c: char| c.is_alphanumeric() || c == '-');
            if is_prose(line) && is_prose(next) {
                let word = next.split(' ').next().unwrap();
                let filled = line.chars().count() + 1 + word.chars().count();
                assert!(filled > WIDTH, "{command}: {line}\n{next}");
            }
        }
    }
}

#[test]
fn each_command_has_its_manual_page() {
    for command in COMMANDS {
        let page = printed(&["man", command]);
        assert!(page.contains(&format!(".TH echogate-{command} 1 ")), "{page}");
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH echogate 1 ") && page.contains("echogate\\-connect(1)"), "{page}");
}

#[test]
fn an_unknown_command_is_named_and_a_misspelt_one_gets_a_suggestion() {
    assert_eq!(
        complaint(&["man", "conect"]),
        "echogate: no command \"conect\"; did you mean \"connect\"?"
    );
    assert_eq!(complaint(&["man", "42"]), "echogate: no command \"42\"");
    assert_eq!(complaint(&["man", "nosuch"]), "echogate: no command \"nosuch\"");
    for wrong in ["nosuch", "service:nope"] {
        let line = format!("echogate: unrecognized subcommand '{wrong}' (echogate --help)");
        assert_eq!(complaint(&[wrong]), line);
    }
    let similar =
        "echogate: unrecognized subcommand 'conect'; a similar subcommand exists: 'connect'";
    assert_eq!(complaint(&["conect"]), similar);
    let far = complaint(&["--listen", "nope=tcp://127.0.0.1:0"]);
    assert!(far.ends_with("expected one of upper, echo, time, chat, operator"), "{far}");
    for wrong in [&["help", "nope"][..], &["help", "check", "nope"]] {
        let line = complaint(wrong);
        assert!(line.starts_with("echogate: unrecognized subcommand 'nope' (echogate"), "{line}");
    }
    assert!(complaint(&["connect", "--evry=1s"]).contains("a similar argument exists: '--every'"));
    let slip = complaint(&["--listen", "uper=tcp://127.0.0.1:0"]);
    assert!(slip.contains("did you mean \"upper\"?"), "{slip}");
}

#[test]
fn flags_of_other_programs_are_answered_with_their_equivalents() {
    for (arguments, equivalent) in [
        (
            &["connect", "-l", "9000"][..],
            "'-l' found: echogate listen [HOST:]PORT waits for a client",
        ),
        (&["connect", "h", "-p", "1"], "'-p' found: the port is an argument: HOST PORT, or PORT"),
        (&["connect", "-u", "h", "1"], "'-u' found: use udp://HOST:PORT; to log in, a ws:// URL"),
        (&["connect", "-U", "/s"], "'-U' found: use unix:///PATH"),
        (
            &["connect", "-N", "h", "1"],
            "'-N' found: not needed: over TCP the end of the input half-closes",
        ),
        (&["connect", "-w", "1", "h", "1"], "'-w' found: use --wait TIME"),
        (
            &["connect", "-z", "h", "1"],
            "'-z' found: use echogate connect --wait 0s HOST PORT </dev/null",
        ),
        (&["connect", "-c", "ws://h"], "'-c' found: the URL is an argument"),
        (&["connect", "-x", "hi", "ws://h"], "'-x' found: use --message TEXT, or --proxy URL"),
        (&["connect", "-s", "::1", "h", "1"], "'-s' found: use --source ADDRESS"),
        (&["connect", "-C", "h", "1"], "'-C' found: use --crlf"),
        (&["connect", "-1", "ws://h"], "'-1' found: use --count 1"),
        (&["connect", "-d", "hi", "ws://h"], "'-d' found: use --message TEXT"),
        (&["connect", "--cacert=ca.pem", "wss://h"], "'--cacert' found: use --ca FILE"),
        (
            &["connect", "--connect-timeout", "3", "h:1"],
            "found: not adjustable: an attempt to connect ends after 10 s",
        ),
        (&["connect", "--auth", "u:p", "ws://h"], "'--auth' found: use a ws:// URL with user"),
        (&["-v"], "'-v' found: use --version"),
        (&["-l", "9000"], "'-l' found: echogate listen [HOST:]PORT waits for a client"),
        (&["serve", "-p", "9000"], "'-p' found (echogate serve --help)"),
        (&["bench", "-v"], "'-v' found (echogate bench --help)"),
        (&["connect", "--zzz"], "'--zzz' found (echogate connect --help)"),
        (&["completions", "tcsh"], "for '<SHELL>' [possible values: bash, elvish, fish"),
        (&["connect", "99999"], "bad port \"99999\": expected a number from 0 to 65535"),
        (&["connect", "7007", "127.0.0.1"], "expected a port from 1 to 65535"),
        (&["--http", "99999"], "bad port \"99999\": expected a number from 0 to 65535"),
        (&["listen", "ws://9000"], "9000 is no host: expected a URL such as ws://:9000"),
    ] {
        let line = complaint(arguments);
        assert!(line.contains(equivalent), "{arguments:?}: {line}");
        assert!(!line.contains("as a value"), "{line}");
    }
}

#[test]
fn each_shell_has_its_completions_and_bash_reads_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("reconnect") && script.contains("gateway"), "{shell}");
    }
    let mut bash = Command::new("bash")
        .args(["--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let script = printed(&["completions", "bash"])
        + "COMP_WORDS=(echogate con); COMP_CWORD=1; _echogate echogate con echogate; \
           echo \"${COMPREPLY[@]}\"\n";
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let completed = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "connect\n");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    for (no_colour, coloured) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let help = Terminal::start("/usr/bin/env", &[no_colour, ECHOGATE, "help"]);
        let (_, shown) = help.wait();
        assert!(shown.contains("Usage:"), "{shown}");
        let serve = ["serve", "--http=127.0.0.1:0", "--listen=upper=tcp://127.0.0.1:0"];
        let arguments = [&[no_colour, ECHOGATE], &serve[..]].concat();
        let server = Terminal::start("/usr/bin/env", &arguments);
        server.wait_for("ready");
        server.exchange("\x03", "SIGINT: shutting down within --drain; a second");
        assert_eq!(server.raw().contains('\x1b'), coloured, "{:?}", server.raw());
    }
    assert!(!printed(&["help"]).contains('\x1b'));
}
