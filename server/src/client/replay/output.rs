//! The file of `--record`, which is written while connections are played.

use std::{
    cell::{Cell, RefCell},
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::notice;
use crate::{
    client::Error,
    recording::{
        file::{Format, RecordingFile},
        model::Traffic,
        wire::WireRecord,
    },
    text::io_error::describe,
};

/// The bytes that are written at once.
const CHUNK: usize = 256 * 1024;

/// The time after which an event has fewer bytes written.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file of `--record`.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: RefCell<RecordingFile>,
    flushed: Cell<Instant>,
    /// The first failure, after which nothing is written.
    failure: RefCell<Option<String>>,
}

impl Output {
    /// Creates the file, or replaces one of this name.
    pub(super) fn create(path: &Path, traffic: Traffic) -> Result<Output, Error> {
        let format = Format::for_traffic(path, traffic);
        let format = format.map_err(|why| Error::Usage(format!("--record {why}")))?;
        let options = &mut OpenOptions::new();
        let file = RecordingFile::open(path, format, options.create(true).truncate(true));
        let file = file.map_err(|error| {
            Error::Usage(format!("--record {}: {}", path.display(), describe(&error)))
        })?;
        Ok(Output {
            path: path.to_owned(),
            file: file.into(),
            flushed: Instant::now().into(),
            failure: RefCell::default(),
        })
    }

    /// Adds an event, and writes what is pending if that is much or old.
    pub(super) fn add(&self, record: WireRecord) {
        if self.failure.borrow().is_some() {
            return;
        }
        self.file.borrow_mut().add(record);
        if self.file.borrow().pending() >= CHUNK || self.flushed.get().elapsed() >= INTERVAL {
            self.flush();
        }
    }

    /// Writes what is pending.
    pub(super) fn flush(&self) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_some() {
            return;
        }
        self.flushed.set(Instant::now());
        if let Err(error) = self.file.borrow_mut().flush() {
            let text = format!("{}: {}", self.path.display(), describe(&error));
            notice(&format!("warning: recording stopped: {text}"));
            *failure = Some(text);
        }
    }

    /// Writes the rest, when all connections have ended.
    ///
    /// # Errors
    ///
    /// The file is not complete.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.flush();
        match &*self.failure.borrow() {
            None => Ok(()),
            Some(text) => Err(Error::Failed(format!("recording incomplete: {text}"))),
        }
    }
}
