//! A temporary PostgreSQL cluster behind a route; Neon's serverless driver in Node.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use echogate_tests::program::{Program, free_port, packages, programs, run};
use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use super::{gateway, script};

#[test]
fn a_postgres_driver_writes_and_reads_a_table() {
    let Some([node]) = programs(["node"]) else { return };
    let Some(packages) = packages(&["@neondatabase/serverless", "ws"]) else { return };
    let Some(cluster) = Cluster::start() else { return };
    let server = gateway("/pg", cluster.port);
    run(script(&node, &packages, include_str!("postgres.mjs"), &[server.address("http")]));
}

/// A running cluster, whose superuser `postgres` needs no password.
pub(super) struct Cluster {
    pub(super) port: u16,
    // Dropped in this order.
    _database: Program,
    _folder: TempDir,
}

impl Cluster {
    /// Starts a cluster; `None`, with a notice, where PostgreSQL is missing.
    pub(super) fn start() -> Option<Cluster> {
        let [initdb, postgres] = programs(["initdb", "postgres"])?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let database = serve(&initdb, &postgres, folder.path(), port);
        Some(Cluster { port, _database: database, _folder: folder })
    }
}

fn serve(initdb: &Path, postgres: &Path, folder: &Path, port: u16) -> Program {
    // PostgreSQL refuses to run as root.
    let user = geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap());
    if let Some(user) = &user {
        chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(folder).arg("-D").arg(folder.join("data"));
        if let Some(user) = &user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    };

    let mut create = command(initdb);
    create.args(["--username=postgres", "--auth=trust", "--locale=C", "--encoding=UTF8"]);
    create.args(["--no-sync", "--no-instructions"]);
    run(create);
    let mut serve = command(postgres);
    serve.args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    serve.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
    Program::serve(serve, port)
}
