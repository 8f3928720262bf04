//! sshd behind a route; scp through `echogate connect` as its proxy command.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::Command,
};

use echogate_tests::{
    program::{Program, free_port, programs, run},
    tcp::noise,
};
use nix::unistd::{User, geteuid};

use super::gateway;
use crate::ECHOGATE;

const SIZE: usize = 50_000_000;

#[test]
fn scp_carries_50_mb_there_and_back() {
    let Some([sshd, keygen, scp]) = programs(["sshd", "ssh-keygen", "scp"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for key in ["host", "user"] {
        let mut command = Command::new(&keygen);
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &path(key)]);
        run(command);
    }
    let public = |key: &str| fs::read_to_string(path(key) + ".pub").unwrap();
    fs::write(path("authorized"), public("user")).unwrap();
    fs::write(path("known"), format!("behind-the-gateway {}", public("host"))).unwrap();
    let port = free_port();
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         UsePAM no\nStrictModes no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
        path("host"),
        path("authorized")
    );
    fs::write(path("sshd_config"), settings).unwrap();
    if geteuid().is_root() {
        // The folder for the chroot of sshd's unprivileged process.
        DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd").unwrap();
    }
    let mut command = Command::new(sshd);
    command.args(["-D", "-e", "-f", &path("sshd_config")]);
    let _sshd = Program::serve(command, port);
    let server = gateway("/ssh", port);

    let data = noise(SIZE);
    fs::write(path("here"), &data).unwrap();
    let proxy = format!("{} connect --binary {}", quoted(ECHOGATE), quoted(&server.ws("/ssh")));
    let user = User::from_uid(geteuid()).unwrap().unwrap().name;
    let there = format!("{user}@behind-the-gateway:{}", path("there"));
    let copy = |from: &str, to: &str| {
        let mut command = Command::new(&scp);
        // The shell that runs the proxy command.
        command.env("SHELL", "/bin/sh");
        command.args(["-q", "-F", "none", "-i", &path("user")]);
        for option in [
            format!("ProxyCommand={proxy}"),
            format!("UserKnownHostsFile={}", path("known")),
            "GlobalKnownHostsFile=none".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.args([from, to]);
        assert_eq!(run(command), "");
    };
    copy(&path("here"), &there);
    assert_same(Path::new(&path("there")), &data);
    copy(&there, &path("back"));
    assert_same(Path::new(&path("back")), &data);
}

/// Quotes an argument of the proxy command, for ssh's `%` sequences and for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', "%%"))
}

fn assert_same(file: &Path, data: &[u8]) {
    let copy = fs::read(file).unwrap();
    assert!(copy == data, "{}: {} bytes", file.display(), copy.len());
}
