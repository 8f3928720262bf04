//! The transfer of a file over a connection.

use super::{
    super::{
        browser,
        dispatch::{Message, dispatch},
    },
    Connection, POLL_INTERVAL,
};
use crate::{
    composer::transfer::{End, Expect, Transfer},
    session::{Event, Session},
    time::Millis,
};

impl Connection {
    /// Starts the transfer of the chosen file.
    pub(in super::super) fn start_transfer(&mut self, expect: Expect) {
        if let Some(file) = &self.compose.file {
            let (name, size) = (file.name(), file.size() as u64);
            self.compose.transfer = Some(Transfer::new(name, size, expect, browser::now()));
        }
    }

    /// A part of the file was read; `None` if it cannot be read.
    pub(in super::super) fn file_part_read(&mut self, bytes: Option<Vec<u8>>) {
        let now = browser::now();
        let Some(transfer) = self.compose.transfer.as_mut().filter(|it| it.end().is_none()) else {
            return;
        };
        let Some(bytes) = bytes else { return transfer.finish(End::Unreadable, now) };
        transfer.part_read(&bytes, now);
        if self.on_event(Event::Send(bytes.into())).is_some()
            && let Some(transfer) = &mut self.compose.transfer
        {
            transfer.finish(End::Lost, now);
        }
        self.step_transfer(now);
    }

    /// Reads the next part of the file, if there is room for one; returns when to look again.
    pub(super) fn step_transfer(&mut self, now: Millis) -> Option<Millis> {
        let id = self.id;
        let queued = if self.session.queued() > 0 { Session::MAX_BUFFERED } else { 0 };
        let unsent = self.buffered() + queued;
        let (transfer, file) = self.compose.transfer.as_mut().zip(self.compose.file.as_ref())?;
        if let Some(part) = transfer.next_part(unsent) {
            browser::read(file, part.start, part.end, move |bytes| {
                dispatch(Message::FilePart(id, bytes));
            });
        }
        transfer.end().is_none().then_some(now + POLL_INTERVAL)
    }
}
