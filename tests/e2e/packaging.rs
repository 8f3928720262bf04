//! The files of `server/packaging`: systemd units, container image, Kubernetes manifests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use echogate_tests::{http, program, server::Server};

use crate::ECHOGATE;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../server");
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/packaging");

fn read(name: &str) -> String {
    let path = Path::new(PACKAGING).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rests of the lines that begin with `start`, indented or not.
fn values<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(start)).collect()
}

/// The rest of the only line that begins with `start`.
#[track_caller]
fn value<'a>(text: &'a str, start: &str) -> &'a str {
    let all = values(text, start);
    let [value] = all[..] else { panic!("{start}: {all:?}") };
    value
}

/// A number of seconds, with or without its unit.
fn seconds(text: &str) -> u64 {
    text.trim_matches('"').trim_end_matches('s').parse().unwrap()
}

/// Arguments as a JSON list.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap()
}

/// Runs `echogate check` with the arguments of a command for `serve`, which reads its configuration
/// from `file`.
#[track_caller]
fn check<'a>(arguments: impl IntoIterator<Item = &'a str>, file: &Path) -> String {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let [command, rest @ ..] = &arguments[..] else { panic!("no command") };
    assert!(["serve", "check"].contains(command), "{arguments:?}");
    let installed = "/etc/echogate/echogate.toml";
    assert!(rest.contains(&installed), "{arguments:?}");
    let file = file.to_str().unwrap();
    let rest = rest.iter().map(|argument| if *argument == installed { file } else { argument });
    let output = Command::new(ECHOGATE).arg("check").args(rest).output().unwrap();
    accepted(&output)
}

#[track_caller]
fn accepted(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A temporary file with this text.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echogate.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// A server with this configuration, with free ports.
fn start(text: &str) -> Server {
    let text = [":8080", ":7007"].iter().fold(text.to_owned(), |text, at| text.replace(at, ":0"));
    let (_folder, path) = file(&text);
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--config"]).arg(path);
    Server::spawn(command)
}

#[test]
fn the_command_of_the_service_unit_accepts_the_configuration_of_the_package() {
    let unit = read("echogate.service");
    let arguments = value(&unit, "ExecStart=").strip_prefix("/usr/bin/echogate ").unwrap();
    let printed = check(arguments.split(' '), &Path::new(PACKAGING).join("echogate.toml"));
    assert!(printed.contains("http   http://127.0.0.1:8080"), "{printed}");
    assert_eq!(value(&unit, "Type="), "notify");
    let files: u64 = value(&unit, "LimitNOFILE=").parse().unwrap();
    let server = start("http = [\"127.0.0.1:8080\"]");
    assert!(files >= 3 * server.metric("echogate_connections_limit"), "three for a connection");
    assert!(seconds(value(&unit, "TimeoutStopSec=")) >= 15, "--drain and 5 s");
}

#[test]
fn each_setting_that_the_configuration_of_the_package_comments_out_may_be_set() {
    let text = read("echogate.toml");
    let is_toml = |line: &&str| {
        let is_setting = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        // Files that are missing here.
        (is_setting || line.starts_with("[[")) && !line.starts_with("tls-")
    };
    let (mut lines, mut count) = (Vec::new(), 0);
    for line in text.lines() {
        match line.strip_prefix("# ").filter(is_toml) {
            Some(setting) => {
                lines.push(setting);
                count += 1;
            }
            None => lines.push(line),
        }
    }
    assert!(count > 10, "{count} settings are commented out");
    let recordings = tempfile::tempdir().unwrap();
    let text = lines.join("\n").replace("/var/lib/echogate", recordings.path().to_str().unwrap());
    let (_folder, path) = file(&text);
    let printed = check(["serve", "--config", "/etc/echogate/echogate.toml"], &path);
    for part in ["listen     echo ", "route      /vnc ", "forward    unix:///run/echogate/db.sock"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn the_socket_unit_passes_the_default_addresses_of_http() {
    let unit = read("echogate.socket");
    assert_eq!(value(&unit, "FileDescriptorName="), "http");
    let printed = accepted(&Command::new(ECHOGATE).arg("check").output().unwrap());
    let defaults = values(&printed, "listen     http   http://");
    let defaults: Vec<_> = defaults.iter().map(|at| at.trim_end_matches('/')).collect();
    assert_eq!(values(&unit, "ListenStream="), defaults);
}

#[test]
fn systemd_knows_every_setting_of_the_units_and_finds_the_service_confined() {
    let Some([analyze]) = program::programs(["systemd-analyze"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = fs::canonicalize(ECHOGATE).unwrap();
    let units = ["echogate.service", "echogate.socket"].map(|name| {
        // The manual pages are not installed here.
        let is_here = |line: &&str| !line.starts_with("Documentation=");
        let lines: Vec<_> = read(name).lines().filter(is_here).map(str::to_owned).collect();
        let text = lines.join("\n").replace("/usr/bin/echogate", program.to_str().unwrap());
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });
    let verified =
        Command::new(&analyze).args(["verify", "--man=no"]).args(&units).output().unwrap();
    accepted(&verified);
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    // In tenths: 2.0 of 10.
    let limits = ["security", "--offline=true", "--threshold=20"];
    accepted(&Command::new(&analyze).args(limits).arg(&units[0]).output().unwrap());
}

#[test]
fn the_container_serves_on_all_addresses_with_the_arguments_of_its_image_and_is_healthy() {
    let image = read("Containerfile");
    let configuration = read("container.toml");
    assert_eq!(list(value(&image, "ENTRYPOINT ")), ["/usr/bin/echogate"]);
    let [health, arguments] = &values(&image, "CMD ")[..] else { panic!("two commands") };
    let (health, arguments) = (list(health), list(arguments));
    let path = Path::new(PACKAGING).join("container.toml");
    let printed = check(arguments.iter().map(String::as_str), &path);
    let ports = value(&image, "EXPOSE ").split(' ').collect::<BTreeSet<_>>();
    let addresses = values(&printed, "listen ");
    let listening =
        addresses.iter().map(|line| line.split_once("://0.0.0.0:").unwrap().1).collect();
    assert_eq!(ports, listening);

    let server = start(&configuration);
    let at = here(&server).replace(':', "/");
    let health = health.iter().map(|argument| argument.replace("127.0.0.1/8080", &at));
    let health: Vec<_> = health.collect();
    let run = || Command::new(&health[0]).args(&health[1..]).output().unwrap();
    accepted(&run());
    drop(server);
    assert!(!run().status.success(), "{health:?}");
}

/// The address of HTTP of a server that listens on all addresses.
fn here(server: &Server) -> String {
    server.address("http").replace("0.0.0.0", "127.0.0.1")
}

#[test]
fn the_manifests_of_kubernetes_start_probe_and_stop_a_server() {
    let folder = "kubernetes/";
    let manifest = |name: &str| read(&format!("{folder}{name}.yaml"));
    let names = ["configuration", "deployment", "service", "disruption-budget"];
    for name in names {
        assert!(values(&manifest("kustomization"), "- ").contains(&&*format!("{name}.yaml")));
        let label = "app.kubernetes.io/name: ";
        assert!(values(&manifest(name), label).iter().all(|name| *name == "echogate"));
    }
    let configuration = manifest("configuration");
    let (_, indented) = configuration.split_once("  echogate.toml: |\n").unwrap();
    let lines = indented.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let configuration = lines.collect::<Vec<_>>().join("\n");
    let deployment = manifest("deployment");
    let (_folder, path) = file(&configuration);
    let arguments = list(value(&deployment, "args: "));
    let printed = check(arguments.iter().map(String::as_str), &path);
    let port = value(&deployment, "containerPort: ");
    assert!(printed.contains(&format!("http   http://0.0.0.0:{port}\n")), "{printed}");
    assert_eq!(value(&deployment, "image: "), concat!("echogate:", env!("CARGO_PKG_VERSION")));

    let drain = seconds(value(&configuration, "drain = "));
    assert!(seconds(value(&configuration, "drain-delay = ")) < drain);
    assert!(seconds(value(&deployment, "terminationGracePeriodSeconds: ")) >= drain + 5);
    let server = start(&configuration);
    let probes = values(&deployment, "httpGet: {path: ");
    assert_eq!(probes.len(), 3);
    for probe in probes {
        let path = probe.split(',').next().unwrap();
        assert_eq!(http::get(&here(&server), path).status, 200, "{path}");
    }
}

#[test]
fn the_files_of_the_debian_package_exist() {
    let manifest = fs::read_to_string(format!("{SERVER}/Cargo.toml")).unwrap();
    let mut count = 0;
    for line in values(&manifest, "[\"") {
        let source = line.split('"').next().unwrap();
        // Built, and generated by packaging/deb.
        if source.contains("target/") {
            continue;
        }
        let (folder, name) = source.rsplit_once('/').unwrap();
        let exists = fs::read_dir(Path::new(SERVER).join(folder)).unwrap().any(|entry| {
            let entry = entry.unwrap().file_name().into_string().unwrap();
            entry == name || name.strip_prefix('*').is_some_and(|end| entry.ends_with(end))
        });
        assert!(exists, "{source}");
        count += 1;
    }
    assert!(count >= 2, "there are such files");
}
