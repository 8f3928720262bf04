//! The transfer of a file over a connection.

use super::{super::browser, Connection};
use crate::{
    composer::transfer::{Expect, Progress, Transfer},
    session::Event,
    time::Millis,
};

impl Connection {
    /// Starts the transfer of the chosen file.
    pub(in crate::view) fn start_transfer(&mut self, expect: Expect) {
        if let Some((file, socket)) = self.compose.file.as_ref().zip(self.socket.as_ref()) {
            socket.send_file(file, expect);
            let (name, size) = (file.name(), file.size() as u64);
            self.compose.transfer = Some(Transfer::new(name, size, expect, browser::now()));
        }
    }

    /// Applies a report of the worker to the session and the transfer.
    pub(in crate::view) fn file_moved(&mut self, progress: &Progress, at: Millis) {
        let Progress { sent, received, .. } = *progress;
        self.on_event(Event::FileMoved { sent, received }, at);
        if let Some(transfer) = &mut self.compose.transfer {
            transfer.moved(progress, at);
        }
    }

    /// Stops the transfer, whose end is then reported.
    pub(in crate::view) fn stop_transfer(&mut self) {
        self.with_socket(super::Socket::stop_file);
    }
}
