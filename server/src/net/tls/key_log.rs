//! `SSLKEYLOGFILE`: the secrets of TLS connections, for programs that decrypt captures (Wireshark).

use std::{
    env,
    ffi::OsString,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tokio_rustls::rustls::{KeyLog, KeyLogFile, NoKeyLog};

use crate::text::io_error;

/// The variable that names the file. Other TLS libraries read it, too.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// The log that all TLS configurations share.
static LOG: OnceLock<Arc<dyn KeyLog>> = OnceLock::new();

/// The warning about the log, until it is taken.
static WARNING: Mutex<Option<String>> = Mutex::new(None);

/// The log of secrets for a TLS configuration: the file of `SSLKEYLOGFILE`, or none.
pub(super) fn key_log() -> Arc<dyn KeyLog> {
    LOG.get_or_init(start).clone()
}

/// The warning that TLS secrets are written, or why they are not. None before the first TLS
/// configuration, and once it has been taken.
pub(crate) fn take_warning() -> Option<String> {
    WARNING.lock().take()
}

fn start() -> Arc<dyn KeyLog> {
    let Some(file) = env::var_os(VARIABLE).filter(|file: &OsString| !file.is_empty()) else {
        return Arc::new(NoKeyLog);
    };
    let name = Path::new(&file).display();
    let (log, warning): (Arc<dyn KeyLog>, _) = match create(Path::new(&file)) {
        Ok(()) => (
            Arc::new(KeyLogFile::new()),
            format!("{VARIABLE}: the secrets of TLS connections are written to {name}"),
        ),
        Err(e) => {
            let why = io_error::describe(&e);
            (Arc::new(NoKeyLog), format!("{VARIABLE}: TLS secrets are not written: {name}: {why}"))
        }
    };
    *WARNING.lock() = Some(warning);
    log
}

/// Creates the file for its owner alone, if it does not exist yet.
fn create(file: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(file).map(drop)
}
