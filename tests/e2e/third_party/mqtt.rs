//! mosquitto behind a route; MQTT.js in Node through the gateway, and mosquitto's own clients
//! directly.

use std::{fs, process::Command};

use echogate_tests::program::{Program, free_port, packages, programs, run};

use super::{gateway, script};

#[test]
fn mqtt_js_and_native_clients_exchange_messages_through_mosquitto() {
    let Some([node, mosquitto, subscribe, publish]) =
        programs(["node", "mosquitto", "mosquitto_sub", "mosquitto_pub"])
    else {
        return;
    };
    let Some(packages) = packages(&["mqtt"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("mosquitto.conf");
    let port = free_port();
    let lines = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
    fs::write(&settings, lines).unwrap();
    let mut command = Command::new(mosquitto);
    command.arg("-c").arg(settings);
    let _broker = Program::serve(command, port);
    let server = gateway("/mqtt", port);

    // A retained message needs no subscriber at the time of publication.
    let at = ["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"];
    let mut command = Command::new(publish);
    command.args(at).args(["-r", "-t", "from/native", "-m", "by TCP, ß"]);
    run(command);
    run(script(&node, &packages, include_str!("mqtt.mjs"), &[&server.ws("/mqtt")]));
    let mut command = Command::new(subscribe);
    command.args(at).args(["-C", "1", "-t", "from/script"]);
    assert_eq!(run(command), "by WebSocket, ß\n");
}
