//! Records of a byte stream, each with its length in front: 2 bytes, as DNS over TCP has them
//! (RFC 1035 section 4.2.2), or 4, in network byte order.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_event_loop::{InFlight, may_continue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Transport;
use crate::{
    connections::counters::Counters,
    runtime::{buffer_pool, write_buffer::WriteBuffer},
};

/// The largest record, in bytes without its length prefix.
const MAX_RECORD: usize = 64 * 1024;

/// The length of the longest length prefix, in bytes.
const MAX_PREFIX: usize = 4;

/// A transport of messages over a byte stream: each read returns one record, and each write takes
/// one. A record may be empty. A stream that ends within a record is an error of kind
/// `UnexpectedEof`.
#[derive(Debug)]
pub(crate) struct LengthPrefixed<S> {
    stream: S,
    /// The length of the length prefix in bytes: 2 or 4.
    prefix: u8,
    /// Bytes that were read after a record, or an incomplete record.
    read_ahead: Option<Box<ReadAhead>>,
    /// The part of a record that the stream does not accept yet.
    unwritten: WriteBuffer,
    /// Whether the last read has found the end of the stream.
    has_read_end: bool,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct ReadAhead {
    bytes: Vec<u8>,
    /// The number of bytes that are taken.
    taken: usize,
}

impl<S: Transport> LengthPrefixed<S> {
    /// The records of `stream`, with a length prefix of `prefix` bytes: 2 or 4. Datagrams that are too
    /// long for a record are dropped and counted in `counters`.
    pub(crate) fn new(stream: S, prefix: u8, counters: &Arc<Counters>) -> LengthPrefixed<S> {
        LengthPrefixed {
            stream,
            prefix,
            read_ahead: None,
            unwritten: WriteBuffer::default(),
            has_read_end: false,
            counters: counters.clone(),
        }
    }

    /// Takes the first record of the bytes that were read ahead; false if none is complete.
    fn take_read_ahead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let Some(ahead) = &mut self.read_ahead else { return Ok(false) };
        let taken = take_record(&ahead.bytes[ahead.taken..], self.prefix, buf)?;
        ahead.taken += taken.unwrap_or(0);
        if ahead.taken == ahead.bytes.len() {
            self.read_ahead = None;
        }
        Ok(taken.is_some())
    }

    /// Reads from the stream. True if that completes a record, or ends the stream.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut bytes = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes))?;
        let mut bytes = bytes.filled();
        if bytes.is_empty() {
            if self.read_ahead.is_some() {
                let text = "the stream ended within a record";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            self.has_read_end = true;
            return Poll::Ready(Ok(true));
        }
        let mut is_complete = false;
        if self.read_ahead.is_none()
            && let Some(taken) = take_record(bytes, self.prefix, buf)?
        {
            (is_complete, bytes) = (true, &bytes[taken..]);
        }
        if !bytes.is_empty() {
            let ReadAhead { bytes: ahead, taken } = &mut **self.read_ahead.get_or_insert_default();
            ahead.drain(..std::mem::take(taken));
            ahead.extend_from_slice(bytes);
        }
        Poll::Ready(Ok(is_complete))
    }
}

/// Moves the payload of the first record in `bytes` to `buf` and returns the number of bytes taken;
/// none if the record is not complete.
fn take_record(bytes: &[u8], prefix: u8, buf: &mut ReadBuf<'_>) -> io::Result<Option<usize>> {
    let prefix = usize::from(prefix);
    let Some(length) = bytes.get(..prefix) else { return Ok(None) };
    let len = length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let max = MAX_RECORD.min(buf.remaining());
    if len > max {
        let text = format!("a record of {len} bytes is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let Some(payload) = bytes.get(prefix..prefix + len) else { return Ok(None) };
    buf.put_slice(payload);
    Ok(Some(prefix + len))
}

impl<S: Transport> AsyncRead for LengthPrefixed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let records = self.get_mut();
        records.has_read_end = false;
        // Each read of the stream counts against the task's turn; taking a record that was read
        // ahead has to count as well.
        if records.read_ahead.is_some() && !may_continue(cx) {
            return Poll::Pending;
        }
        while !records.take_read_ahead(buf)? {
            let is_done = buffer_pool::with(|scratch| {
                let scratch = &mut scratch[..MAX_PREFIX + MAX_RECORD];
                records.poll_stream(cx, scratch, buf)
            });
            if ready!(is_done)? {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncWrite for LengthPrefixed<S> {
    /// Takes the whole of `payload`, a datagram, as one record, once all of the previous one is written.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<io::Result<usize>> {
        let LengthPrefixed { stream, prefix, unwritten, counters, .. } = self.get_mut();
        ready!(unwritten.poll_flush(cx, stream))?;
        let max = if *prefix == 2 { usize::from(u16::MAX) } else { MAX_RECORD };
        let len = payload.len();
        if len > max {
            counters.datagram_dropped();
            return Poll::Ready(Ok(len));
        }
        let length = (len as u32).to_be_bytes();
        let length = &length[MAX_PREFIX - usize::from(*prefix)..];
        unwritten.write(cx, stream, &mut [IoSlice::new(length), IoSlice::new(payload)])?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let LengthPrefixed { stream, unwritten, .. } = self.get_mut();
        ready!(unwritten.poll_flush(cx, stream))?;
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let LengthPrefixed { stream, unwritten, .. } = self.get_mut();
        ready!(unwritten.poll_flush(cx, stream))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}

impl<S: Transport> Transport for LengthPrefixed<S> {
    fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    fn has_failed(&self) -> bool {
        self.stream.has_failed()
    }

    fn wakes_on_failure(&self) -> bool {
        self.stream.wakes_on_failure()
    }

    fn in_flight(&self) -> Option<InFlight> {
        self.stream.in_flight()
    }

    fn reset_on_drop(&mut self) {
        self.stream.reset_on_drop();
    }

    fn reset(&mut self) {
        self.stream.reset();
    }

    fn reads_messages(&self) -> bool {
        true
    }

    fn has_read_end(&self) -> bool {
        self.has_read_end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::stream::Stream;

    /// Records over a socket, and the other end of the socket.
    fn records(prefix: u8) -> (LengthPrefixed<Stream>, UnixStream) {
        let (stream, peer) = UnixStream::pair().unwrap();
        (LengthPrefixed::new(stream.into(), prefix, &Arc::default()), peer)
    }

    /// The next record; none at the end of the stream.
    async fn next(records: &mut LengthPrefixed<Stream>) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 100_000];
        let len = records.read(&mut buffer).await?;
        Ok((len > 0 || !records.has_read_end()).then(|| buffer[..len].to_vec()))
    }

    #[tokio::test]
    async fn each_read_is_one_record_however_the_bytes_arrive() {
        let (mut records, mut peer) = records(2);
        peer.write_all(b"\0\x03one\0\0\0\x05thr").await.unwrap();
        assert_eq!(next(&mut records).await.unwrap().unwrap(), b"one");
        assert_eq!(next(&mut records).await.unwrap().unwrap(), b"", "an empty record");
        let dribble = async {
            for byte in b"ee\0\x01!" {
                peer.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            peer.shutdown().await.unwrap();
        };
        let (three, ()) = tokio::join!(next(&mut records), dribble);
        assert_eq!(three.unwrap().unwrap(), b"three");
        assert_eq!(next(&mut records).await.unwrap().unwrap(), b"!");
        assert_eq!(next(&mut records).await.unwrap(), None);
        assert!(records.read_ahead.is_none(), "an idle stream holds no memory");
    }

    #[tokio::test]
    async fn a_record_that_the_stream_does_not_take_at_once_is_finished_by_a_flush() {
        let (mut records, mut peer) = records(4);
        let record = vec![7; MAX_RECORD];
        let write = async {
            for _ in 0..20 {
                assert_eq!(records.write(&record).await.unwrap(), record.len());
            }
            records.shutdown().await.unwrap();
        };
        let mut bytes = Vec::new();
        let ((), read) = tokio::join!(write, peer.read_to_end(&mut bytes));
        read.unwrap();
        let one = [&[0, 1, 0, 0][..], &record].concat();
        assert!(bytes == one.repeat(20), "{} bytes", bytes.len());
    }

    #[tokio::test]
    async fn records_that_are_too_long_or_cut_short_are_errors() {
        let (mut records, mut peer) = records(4);
        peer.write_all(&[0, 1, 0, 1]).await.unwrap();
        let error = next(&mut records).await.unwrap_err();
        assert_eq!(error.to_string(), "a record of 65537 bytes is longer than 65536 bytes");
        let (mut short, mut peer) = self::records(2);
        peer.write_all(b"\0\x05ab").await.unwrap();
        let error = short.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.to_string(), "a record of 5 bytes is longer than 4 bytes");
        let (mut cut, mut peer) = self::records(2);
        peer.write_all(b"\0\x05ab").await.unwrap();
        drop(peer);
        let error = next(&mut cut).await.unwrap_err();
        assert_eq!(error.to_string(), "the stream ended within a record");
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_for_a_record_is_dropped_and_counted() {
        for (prefix, max) in [(2, usize::from(u16::MAX)), (4, MAX_RECORD)] {
            let (mut records, mut peer) = records(prefix);
            assert_eq!(records.write(&vec![0; max + 1]).await.unwrap(), max + 1);
            assert_eq!(records.write(b"next").await.unwrap(), 4);
            assert_eq!(records.counters.datagrams_dropped(), 1);
            records.shutdown().await.unwrap();
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).await.unwrap();
            assert!(bytes.ends_with(b"\x04next") && bytes.len() == usize::from(prefix) + 4);
        }
    }

    proptest! {
        #[test]
        fn records_arrive_as_they_were_sent(
            is_short: bool,
            sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..50),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let prefix = if is_short { 2 } else { 4 };
                let (mut from, stream) = records(prefix);
                let mut to = LengthPrefixed::new(Stream::from(stream), prefix, &Arc::default());
                let send = async {
                    for record in &sent {
                        assert_eq!(from.write(record).await.unwrap(), record.len());
                    }
                    from.shutdown().await.unwrap();
                };
                let receive = async {
                    for record in &sent {
                        assert_eq!(next(&mut to).await.unwrap().as_ref(), Some(record));
                    }
                    assert_eq!(next(&mut to).await.unwrap(), None);
                };
                tokio::join!(send, receive);
            });
        }
    }
}
