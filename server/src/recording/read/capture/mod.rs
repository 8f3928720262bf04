//! Captures of packets: pcap and pcapng, from `tcpdump`, Wireshark and this program.
//!
//! - `pcap`, `pcapng`: the files, to packets; `packet`: from packets to segments of TCP and UDP
//! - `flows`: from segments to connections; `reassembly`: the bytes of a TCP direction in order
//! - `contents`: what the bytes of a connection are: WebSocket frames, TLS or any others

mod contents;
mod flows;
mod packet;
mod pcap;
mod pcapng;
mod reassembly;

use std::io::BufRead;

use self::{flows::Flows, packet::Link};
use super::{
    Builder,
    input::{Input, ReadError},
};
use crate::recording::model::Recording;

pub(super) use self::pcap::is_pcap;

/// The longest packet or block, in bytes: Wireshark's limit is lower.
const MAX_BLOCK: u32 = 64 << 20;

/// A packet of a capture.
#[derive(Debug)]
struct Packet<'a> {
    /// In nanoseconds since 1970.
    time: u64,
    link: Link,
    /// From the header of the link layer on.
    bytes: &'a [u8],
    comment: Option<&'a str>,
}

/// Reads a pcap file.
pub(super) fn read_pcap(input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    read(input, |input, flows| pcap::read(input, |packet| flows.add(&packet)))
}

/// Reads a pcapng file.
pub(super) fn read_pcapng(input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    read(input, |input, flows| pcapng::read(input, |packet| flows.add(&packet)))
}

fn read<R: BufRead>(
    mut input: Input<R>,
    packets: impl FnOnce(&mut Input<R>, &mut Flows) -> Result<(), ReadError>,
) -> Result<Recording, ReadError> {
    let mut flows = Flows::default();
    packets(&mut input, &mut flows)?;
    if flows.is_empty() {
        let text = "the capture has no TCP segment with payload and no UDP datagram";
        return Err(ReadError::new(input.offset(), text));
    }
    let mut builder = Builder::default();
    for (number, flow) in (1..).zip(&flows.finish()) {
        contents::add(number, flow, &mut builder);
    }
    Ok(builder.finish())
}
