//! The history of typed lines.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, thread};

use echogate_tests::pty::Terminal;

use super::{serve, upper};
use crate::ECHOGATE;

/// A client on a terminal, with its state folder in `folder`.
fn at_the_prompt(folder: &Path, flags: &[&str]) -> Terminal {
    let state = format!("XDG_STATE_HOME={}", folder.display());
    let url = format!("tcp://{}", serve(upper));
    let arguments = [&[&*state, ECHOGATE, "connect", &url], flags].concat();
    let terminal = Terminal::start("/usr/bin/env", &arguments);
    terminal.wait_for("> ");
    terminal
}

/// Types lines, waits for the reply to each, and ends the input.
fn type_all(terminal: Terminal, lines: &[&str]) {
    for line in lines {
        terminal.exchange(&format!("{line}\r"), &format!("{}\n", line.trim_start().to_uppercase()));
    }
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn lines_of_the_previous_session_are_recalled_and_only_their_owner_can_read_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("not/there/yet");
    type_all(at_the_prompt(&state, &[]), &["remember me", " but not a secret"]);
    let terminal = at_the_prompt(&state, &[]);
    terminal.exchange("\x1b[A", "remember me");
    terminal.exchange("\r", "REMEMBER ME\n");
    let file = state.join("echogate/history");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&state.join("echogate"))), (0o600, 0o700));
    assert!(!fs::read_to_string(&file).unwrap().contains("secret"));
}

#[test]
fn without_history_or_a_folder_for_it_no_line_is_remembered_and_the_prompt_works() {
    let folder = tempfile::tempdir().unwrap();
    type_all(at_the_prompt(folder.path(), &["--no-history"]), &["forget me"]);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    type_all(at_the_prompt(Path::new("/dev/null"), &[]), &["forget me"]);
    // A history file with invalid content.
    fs::create_dir_all(folder.path().join("echogate/history")).unwrap();
    type_all(at_the_prompt(folder.path(), &[]), &["forget me"]);
}

#[test]
fn a_history_file_that_is_a_fifo_or_a_device_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echogate/history");
    fs::create_dir(folder.path().join("echogate")).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Opening a FIFO would wait for a writer for ever.
    type_all(at_the_prompt(folder.path(), &[]), &["forget me"]);
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    type_all(at_the_prompt(folder.path(), &[]), &["forget me"]);
}

#[test]
fn clients_at_once_lose_none_of_each_others_lines_and_old_ones_are_dropped() {
    const CLIENTS: usize = 4;
    const LINES: usize = 20;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echogate/history");
    fs::create_dir(folder.path().join("echogate")).unwrap();
    let old: String = (0..2000).map(|i| format!("old {i}\n")).collect();
    fs::write(&file, format!("#V2\n{old}")).unwrap();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let folder = folder.path();
            scope.spawn(move || {
                let lines: Vec<String> = (0..LINES).map(|i| format!("new {client} {i}")).collect();
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                type_all(at_the_prompt(folder, &[]), &lines);
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("#V2", 1001));
    for line in (0..CLIENTS).flat_map(|c| (0..LINES).map(move |i| format!("new {c} {i}"))) {
        assert!(lines.contains(&&*line), "{line}");
    }
    assert!(lines[1..].iter().all(|line| line.starts_with("old ") || line.starts_with("new ")));
}
