//! sshd behind a route; scp through `echogate connect` as its proxy command.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
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

#[test]
fn scp_carries_50_mb_there_and_back() {
    let Some(sshd) = Sshd::start() else { return };
    let server = gateway("/ssh", sshd.port);
    let proxy = format!("{} connect --binary {}", quoted(ECHOGATE), quoted(&server.ws("/ssh")));
    sshd.copy_there_and_back(&format!("ProxyCommand={proxy}"));
}

/// A running sshd that accepts the user of this process by a key, and files for scp.
pub(super) struct Sshd {
    pub(super) port: u16,
    folder: TempDir,
    scp: PathBuf,
    _sshd: Program,
}

impl Sshd {
    /// Starts sshd; `None`, with a notice, where OpenSSH is missing.
    pub(super) fn start() -> Option<Sshd> {
        let [sshd, keygen, scp] = programs(["sshd", "ssh-keygen", "scp"])?;
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
        let sshd = Program::serve(command, port);
        Some(Sshd { port, folder, scp, _sshd: sshd })
    }

    /// Copies a file to the server and back, by a connection that the ssh option `how` describes.
    pub(super) fn copy_there_and_back(&self, how: &str) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let data = noise(SIZE);
        fs::write(path("here"), &data).unwrap();
        let there = format!("{}@behind-the-gateway:{}", user(), path("there"));
        self.copy(how, &path("here"), &there);
        assert_same(Path::new(&path("there")), &data);
        self.copy(how, &there, &path("back"));
        assert_same(Path::new(&path("back")), &data);
    }

    fn copy(&self, how: &str, from: &str, to: &str) {
        let mut command = Command::new(&self.scp);
        // The shell that runs a proxy command.
        command.env("SHELL", "/bin/sh");
        command.args(self.options()).args(["-o", how, from, to]);
        assert_eq!(run(command), "");
    }

    /// The options of ssh and scp for a connection to this sshd.
    pub(super) fn options(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut options = ["-q", "-F", "none", "-i", &path("user")].map(str::to_owned).to_vec();
        for option in [
            format!("UserKnownHostsFile={}", path("known")),
            "HostKeyAlias=behind-the-gateway".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }
}

/// The name of the user who runs the tests.
pub(super) fn user() -> String {
    User::from_uid(geteuid()).unwrap().unwrap().name
}

/// Quotes an argument of the proxy command, for ssh's `%` sequences and for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', "%%"))
}

fn assert_same(file: &Path, data: &[u8]) {
    let copy = fs::read(file).unwrap();
    assert!(copy == data, "{}: {} bytes", file.display(), copy.len());
}
