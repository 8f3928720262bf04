//! Lines and file descriptors over a Unix socket (`SCM_RIGHTS`).

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
};

/// The longest line that is received, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// The size of the buffer of one recvmsg(2), in bytes.
const CHUNK: usize = 1024;

/// The largest number of descriptors in one recvmsg(2); senders attach one to a line.
const MAX_AT_ONCE: usize = 4;

/// A Unix socket with lines in both directions, to which descriptors may be attached.
#[derive(Debug)]
pub(crate) struct DescriptorStream {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl From<UnixStream> for DescriptorStream {
    fn from(stream: UnixStream) -> DescriptorStream {
        DescriptorStream { stream, received: Vec::new(), descriptors: VecDeque::new() }
    }
}

impl DescriptorStream {
    /// Sends a line.
    ///
    /// # Errors
    ///
    /// The errors of send(2).
    pub(crate) async fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Sends a line with a descriptor.
    ///
    /// # Errors
    ///
    /// The errors of sendmsg(2).
    pub(crate) async fn send_with(
        &mut self,
        line: &str,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let line = format!("{line}\n");
        let send = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor];
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let bytes = [IoSlice::new(line.as_bytes())];
            Ok(sendmsg(&self.stream, &bytes, &mut control, SendFlags::NOSIGNAL)?)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
        self.stream.write_all(&line.as_bytes()[sent..]).await
    }

    /// Receives a line; None at the end of the stream.
    ///
    /// # Errors
    ///
    /// The errors of recvmsg(2); the line is too long or not UTF-8, or has too many descriptors.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.pop();
                return String::from_utf8(line).map(Some).map_err(io::Error::other);
            }
            if self.received.len() > MAX_LINE {
                return Err(io::Error::other(format!("a line of more than {MAX_LINE} bytes")));
            }
            if self.receive_some().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Takes the next descriptor that was received, in the order of the lines.
    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Receives some bytes and their descriptors; 0 at the end of the stream.
    async fn receive_some(&mut self) -> io::Result<usize> {
        let mut bytes = [0; CHUNK];
        let (len, descriptors) = self
            .stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_AT_ONCE))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut buffers = [IoSliceMut::new(&mut bytes)];
                let flags = RecvFlags::CMSG_CLOEXEC;
                let message = recvmsg(&self.stream, &mut buffers, &mut control, flags)?;
                if message.flags.contains(ReturnFlags::CTRUNC) {
                    return Err(io::Error::other("too many descriptors at once"));
                }
                let rights = control.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                    _ => None,
                });
                Ok((message.bytes, rights.flatten().collect::<Vec<_>>()))
            })
            .await?;
        self.received.extend_from_slice(&bytes[..len]);
        self.descriptors.extend(descriptors);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
        os::fd::AsFd,
    };

    use super::*;

    fn pair() -> (DescriptorStream, DescriptorStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (one.into(), other.into())
    }

    fn file(content: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn content(descriptor: OwnedFd) -> String {
        let mut content = String::new();
        File::from(descriptor).read_to_string(&mut content).unwrap();
        content
    }

    #[tokio::test]
    async fn descriptors_arrive_in_the_order_of_their_lines() {
        let (mut sender, mut receiver) = pair();
        for content in ["a", "b", "c"] {
            sender.send_with(content, file(content).as_fd()).await.unwrap();
        }
        sender.send("without").await.unwrap();
        drop(sender);
        for name in ["a", "b", "c"] {
            assert_eq!(receiver.receive().await.unwrap().as_deref(), Some(name));
            assert_eq!(content(receiver.descriptor().unwrap()), name);
        }
        assert_eq!(receiver.receive().await.unwrap().as_deref(), Some("without"));
        assert!(receiver.descriptor().is_none());
        assert_eq!(receiver.receive().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_that_names_many_sockets_is_received() {
        let (mut sender, mut receiver) = pair();
        let line: String = (0..20_000).map(|position| format!(" {position}")).collect();
        let (sent, received) = tokio::join!(sender.send(&line), receiver.receive());
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), line);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_an_error() {
        let (mut sender, mut receiver) = pair();
        let line = vec![b'x'; 2 * MAX_LINE];
        tokio::spawn(async move { sender.stream.write_all(&line).await });
        assert!(receiver.receive().await.is_err());
    }
}
