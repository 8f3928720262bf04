//! Loops that are blocked, and loops that die.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use tokio::{runtime::Runtime, time::sleep};

use super::{LONG, block};
use crate::{state::leave_loop, *};

#[tokio::test]
async fn a_blocked_loop_is_named_until_it_answers_again() {
    let loops = EventLoops::with_threads(2, BATCH).unwrap();
    loops.ping(LONG).await.unwrap();
    let release = block(&loops).await;
    let blocked = &loops.0[0];
    for _ in 0..3 {
        let stuck = loops.ping(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(stuck.number, blocked.number);
    }
    assert_eq!(blocked.inbox.pending().pings.len(), 1, "pings that were given up pile up");
    drop(release);
    loops.ping(LONG).await.unwrap();
}

/// Set in the process that is to abort.
const CHILD: &str = "ECHOGATE_EVENT_LOOP_ABORTS";

#[test]
fn a_panic_outside_of_a_task_aborts_the_process() {
    if env::var_os(CHILD).is_some() {
        return break_a_loop();
    }
    let test = "tests::health::a_panic_outside_of_a_task_aborts_the_process";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").stdout(Stdio::null());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32), "{log}");
}

fn break_a_loop() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let loops = EventLoops::with_threads(1, BATCH).unwrap();
        loops.spawn(async {
            leave_loop();
            std::future::pending::<()>().await;
        });
        // The process aborts long before.
        sleep(LONG).await;
    });
}
