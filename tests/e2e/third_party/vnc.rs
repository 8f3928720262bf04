//! An X display behind a route; noVNC in a page of the same server.

use std::{fs, os::unix::fs::symlink, process::Command};

use echogate_tests::{
    browser::Page,
    program::{Program, free_port, packages, programs, run},
    server::{Server, wait_until},
};

use crate::ECHOGATE;

#[test]
fn what_is_drawn_on_a_display_is_seen_by_novnc_and_keys_pressed_there_arrive() {
    let Some([xvnc, xsetroot, xset]) = programs(["Xtigervnc", "xsetroot", "xset"]) else { return };
    let Some(packages) = packages(&["@novnc/novnc"]) else { return };
    let web = tempfile::tempdir().unwrap();
    fs::write(web.path().join("index.html"), include_str!("vnc/index.html")).unwrap();
    fs::write(web.path().join("start.js"), include_str!("vnc/start.js")).unwrap();
    symlink(packages.join("node_modules/@novnc/novnc"), web.path().join("novnc")).unwrap();

    let port = free_port();
    // The display's number is that of the port, so it is free, too.
    let display = format!(":{port}");
    let mut command = Command::new(xvnc);
    command.args([&display, "-rfbport", &port.to_string(), "-localhost", "-nolisten", "tcp"]);
    command.args(["-SecurityTypes", "None", "-geometry", "320x200", "-depth", "24"]);
    let _display = Program::serve(command, port);
    let paint = |colour: &str| {
        let mut command = Command::new(&xsetroot);
        command.args(["-display", &display, "-solid", colour]);
        run(command);
    };

    paint("#c81e64");
    let root = web.path().display().to_string();
    let route = format!("/vnc=tcp://127.0.0.1:{port}");
    let server = Server::start(ECHOGATE, &["--web-root", &root, "--route", &route]);
    let Some(mut page) = Page::open(server.url("http")) else { return };
    page.wait_for("document.body.dataset.state === 'connect'");
    page.wait_for("pixel(160, 100) === '200,30,100'");
    for (colour, seen) in [("#0a96ff", "10,150,255"), ("#00ff00", "0,255,0")] {
        paint(colour);
        page.wait_for(&format!("pixel(3, 3) === '{seen}' && pixel(316, 196) === '{seen}'"));
    }

    let caps_lock_is = |state: &str| {
        let mut command = Command::new(&xset);
        command.args(["-display", &display, "q"]);
        run(command).contains(&format!("Caps Lock:   {state}"))
    };
    assert!(caps_lock_is("off"));
    page.eval("rfb.sendKey(0xffe5)");
    wait_until("the key never arrives", || caps_lock_is("on"));

    page.eval("rfb.disconnect()");
    page.wait_for("document.body.dataset.state === 'disconnect, clean'");
}
