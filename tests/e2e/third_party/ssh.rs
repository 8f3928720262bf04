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
use tempfile::TempDir;

use super::gateway;
use crate::ECHOGATE;

const SIZE: usize = 50_000_000;

/// A running sshd, and the folder with its keys and those of its user.
pub(super) struct Sshd {
    folder: TempDir,
    pub(super) port: u16,
    _program: Program,
}

impl Sshd {
    /// Starts sshd on a free port of 127.0.0.1; None, with a notice, if it is not installed. Clients
    /// know its key under the name `alias`.
    pub(super) fn start(alias: &str) -> Option<Sshd> {
        let [sshd, keygen] = programs(["sshd", "ssh-keygen"])?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut command = Command::new(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &path(key)]);
            run(command);
        }
        let public = |key: &str| fs::read_to_string(path(key) + ".pub").unwrap();
        fs::write(path("authorized"), public("user")).unwrap();
        fs::write(path("known"), format!("{alias} {}", public("host"))).unwrap();
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
        let program = Program::serve(command, port);
        Some(Sshd { folder, port, _program: program })
    }

    /// The path of a file in the folder.
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The options of ssh and scp for this sshd.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options =
            ["-q", "-F", "none", "-i", &self.path("user")].map(str::to_owned).to_vec();
        for option in [
            &format!("UserKnownHostsFile={}", self.path("known")),
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }
}

/// The name of the user who runs the tests.
pub(super) fn user() -> String {
    User::from_uid(geteuid()).unwrap().unwrap().name
}

#[test]
fn scp_carries_50_mb_there_and_back() {
    let Some([scp]) = programs(["scp"]) else { return };
    let Some(sshd) = Sshd::start("behind-the-gateway") else { return };
    let server = gateway("/ssh", sshd.port);

    let data = noise(SIZE);
    fs::write(sshd.path("here"), &data).unwrap();
    let proxy = format!("{} connect --binary {}", quoted(ECHOGATE), quoted(&server.ws("/ssh")));
    let there = format!("{}@behind-the-gateway:{}", user(), sshd.path("there"));
    let copy = |from: &str, to: &str| {
        let mut command = Command::new(&scp);
        // The shell that runs the proxy command.
        command.env("SHELL", "/bin/sh").args(sshd.options());
        command.args(["-o", &format!("ProxyCommand={proxy}"), from, to]);
        assert_eq!(run(command), "");
    };
    copy(&sshd.path("here"), &there);
    assert_same(Path::new(&sshd.path("there")), &data);
    copy(&there, &sshd.path("back"));
    assert_same(Path::new(&sshd.path("back")), &data);
}

/// Quotes an argument of the proxy command, for ssh's `%` sequences and for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', "%%"))
}

fn assert_same(file: &Path, data: &[u8]) {
    let copy = fs::read(file).unwrap();
    assert!(copy == data, "{}: {} bytes", file.display(), copy.len());
}
