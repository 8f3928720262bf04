//! The reception of datagrams on a bound socket. One buffer bounds the memory: the kernel drops
//! datagrams that are not received in time.

use std::{future::ready, time::Duration};

use tokio::time::{interval, sleep};

use super::datagram_socket::{DatagramSocket, Sender};
use crate::runtime::reception::Reception;

/// The largest datagram that is accepted, in bytes: more than UDP allows, and more than the usual
/// send buffer of a Unix socket lets through.
const MAX_DATAGRAM: usize = 256 * 1024;

/// The interval between two calls of [`Receiver::sweep`].
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The pause of receiving after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The largest number of datagrams that are still received when the socket is closed.
const FINAL_DATAGRAMS: usize = 1024;

/// The recipient of the datagrams of one socket.
pub(crate) trait Receiver: Send {
    /// Takes the datagram in `buffer[..len]`, which was cut if it fills the buffer. The buffer may be
    /// overwritten.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        len: usize,
        from: Sender,
    ) -> impl Future<Output = ()> + Send;

    /// Removes the senders that have been idle for too long.
    fn sweep(&mut self);
}

/// Receives datagrams until the reception is stopped, and then those that wait in the kernel, unless
/// they are left to another process.
pub(crate) async fn receive_all(
    socket: &DatagramSocket,
    reception: &Reception,
    receiver: &mut impl Receiver,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut sweep = interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            received = socket.receive(&mut buffer) => match received {
                Ok((len, from)) => receiver.receive(&mut buffer, len, from).await,
                Err(e) => {
                    tracing::debug!("cannot receive datagrams, trying again: {e}");
                    sleep(ERROR_PAUSE).await;
                }
            },
            _ = sweep.tick() => receiver.sweep(),
            () = reception.stopped() => break,
        }
    }
    let last = if reception.is_left() { 0 } else { FINAL_DATAGRAMS };
    for _ in 0..last {
        let received = tokio::select! {
            biased;
            received = socket.receive(&mut buffer) => received,
            () = ready(()) => break,
        };
        let Ok((len, from)) = received else { break };
        receiver.receive(&mut buffer, len, from).await;
    }
}
