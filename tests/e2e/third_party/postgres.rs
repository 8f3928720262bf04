//! A temporary PostgreSQL cluster behind a route; Neon's serverless driver in Node.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use echogate_tests::program::{Program, free_port, packages, programs, run};
use nix::unistd::{User, geteuid};

use super::{gateway, script};

#[test]
fn a_postgres_driver_writes_and_reads_a_table() {
    let Some([node, initdb, postgres]) = programs(["node", "initdb", "postgres"]) else { return };
    let Some(packages) = packages(&["@neondatabase/serverless", "ws"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    // PostgreSQL refuses to run as root.
    let user = geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap());
    if let Some(user) = &user {
        chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).arg("-D").arg(folder.path().join("data"));
        if let Some(user) = &user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    };

    let mut create = command(&initdb);
    create.args(["--username=postgres", "--auth=trust", "--locale=C", "--encoding=UTF8"]);
    create.args(["--no-sync", "--no-instructions"]);
    run(create);
    let port = free_port();
    let mut serve = command(&postgres);
    serve.args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    serve.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
    let _database = Program::serve(serve, port);
    let server = gateway("/pg", port);
    run(script(&node, &packages, include_str!("postgres.mjs"), &[server.address("http")]));
}
