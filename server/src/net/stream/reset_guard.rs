//! The reset of a TCP connection at the end of the process.

use std::{io, time::Duration};

use echogate_event_loop::InFlight;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use crate::runtime::delivery::{Delivery, Progress, STALL};

/// A TCP connection that is reset when its sockets are closed: at the end of the process at the
/// latest.
#[derive(Debug)]
pub(crate) struct ResetGuard(socket2::Socket);

impl ResetGuard {
    /// A guard of `stream`; none if the system refuses the option or another descriptor.
    pub(super) fn new(stream: &TcpStream) -> Option<ResetGuard> {
        let socket = socket2::SockRef::from(stream).try_clone().ok()?;
        socket.set_linger(Some(Duration::ZERO)).ok()?;
        Some(ResetGuard(socket))
    }

    /// Lets the connection end in order.
    pub(crate) fn release(self) {
        // An error means that the connection has ended already.
        self.0.set_linger(None).ok();
    }

    /// Waits until the peer's kernel has acknowledged everything that was sent, because a reset discards
    /// the rest. Returns at once where this kernel does not report bytes in flight.
    ///
    /// # Errors
    ///
    /// The connection has failed, or the peer has taken nothing for [`STALL`].
    pub(crate) async fn delivered(&self) -> io::Result<()> {
        let mut delivery = None;
        while let Some(in_flight) = InFlight::on(&self.0).filter(|it| !it.is_nothing()) {
            if let Some(error) = self.0.take_error()? {
                return Err(error);
            }
            let now = Instant::now();
            let none = Progress::default();
            let delivery = Delivery::advance(&mut delivery, now, STALL, none, Some(in_flight));
            if delivery.has_stalled(now) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep_until(delivery.next_update()).await;
        }
        Ok(())
    }
}
