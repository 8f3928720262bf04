//! pcapng files (draft-ietf-opsawg-pcapng). Blocks without packets are skipped.

use std::io::BufRead;

use super::{CapturedConnections, Input, Link, MAX_BLOCK, Packet, ReadError};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// The first number of a section header, which shows the byte order.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

// Options of all blocks, of an interface, and of its statistics.
const OPT_COMMENT: u16 = 1;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const ISB_IFDROP: u16 = 5;

/// An interface of the current section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    /// `None` if the type is not supported: packets of this interface are skipped.
    link: Option<Link>,
    /// The units of time in a second.
    per_second: u64,
    /// Seconds that are added to all times.
    offset: i64,
    /// The number of packets that were dropped so far.
    dropped: u64,
}

/// The byte order of a section.
#[derive(Clone, Copy, Debug)]
struct Order {
    little: bool,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    }
}

/// The part of a block's body that has not been parsed.
#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    bytes: &'a [u8],
    /// The offset of the next byte in the file.
    offset: u64,
    order: Order,
}

impl<'a> Body<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], ReadError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            let text = format!(
                "expected {what} of {length} bytes, the block has {} more",
                self.bytes.len()
            );
            return Err(ReadError::new(self.offset, text));
        };
        self.bytes = rest;
        self.offset += length as u64;
        Ok(taken)
    }

    fn u16(&mut self, what: &str) -> Result<u16, ReadError> {
        let bytes = self.take(2, what)?;
        Ok(self.order.u16(bytes.try_into().expect("two bytes were taken")))
    }

    fn u32(&mut self, what: &str) -> Result<u32, ReadError> {
        let bytes = self.take(4, what)?;
        Ok(self.order.u32(bytes.try_into().expect("four bytes were taken")))
    }

    /// Calls `option` with each of the options at the end of a block.
    fn options(mut self, mut option: impl FnMut(u16, &'a [u8])) -> Result<(), ReadError> {
        while !self.bytes.is_empty() {
            let code = self.u16("an option")?;
            let length = self.u16("an option")?;
            if code == 0 {
                return Ok(());
            }
            option(code, self.take(length.into(), "an option")?);
            let padding = usize::from(length).wrapping_neg() % 4;
            self.take(padding.min(self.bytes.len()), "padding")?;
        }
        Ok(())
    }
}

/// Reads a file to its end, and adds each packet to `connections`.
pub(super) fn read<R: BufRead>(
    input: &mut Input<R>,
    connections: &mut CapturedConnections,
) -> Result<(), ReadError> {
    let mut order = Order { little: true };
    let mut interfaces = Vec::new();
    while !input.is_at_end()? {
        let start = input.offset();
        let head: [u8; 8] = input.array("the header of a block")?;
        let [kind, mut length] = *head.as_chunks::<4>().0 else { unreachable!("8 bytes") };
        let mut bytes = Vec::new();
        if order.u32(kind) == SECTION_HEADER {
            let magic: [u8; 4] = input.array("a section header")?;
            order.little = u32::from_le_bytes(magic) == BYTE_ORDER;
            if !order.little && u32::from_be_bytes(magic) != BYTE_ORDER {
                return Err(ReadError::new(start + 8, "expected the byte order of a section"));
            }
            bytes.extend(magic);
            interfaces.clear();
        }
        let end = length;
        let length_number = order.u32(end);
        if length_number < 12 || !length_number.is_multiple_of(4) || length_number > MAX_BLOCK {
            let text = format!("expected the length of a block, found {length_number}");
            return Err(ReadError::new(start + 4, text));
        }
        let rest = (length_number - 12) as usize;
        let Some(rest) = rest.checked_sub(bytes.len()) else {
            return Err(ReadError::new(start + 4, "expected the length of a section header"));
        };
        bytes.extend(input.take(rest as u64, "a block")?);
        let at = input.offset();
        length = input.array("the end of a block")?;
        if length != end {
            let text = format!("expected the length of the block again, {length_number}");
            return Err(ReadError::new(at, text));
        }
        let body = Body { bytes: &bytes, offset: start + 8, order };
        match order.u32(kind) {
            INTERFACE_DESCRIPTION => interfaces.push(interface(body)?),
            ENHANCED_PACKET => connections.add(&enhanced_packet(body, &interfaces)?),
            SIMPLE_PACKET => connections.add(&simple_packet(body, &interfaces)?),
            INTERFACE_STATISTICS => connections.add_dropped(dropped(body, &mut interfaces)?),
            _ => {}
        }
    }
    Ok(())
}

fn interface(mut body: Body<'_>) -> Result<Interface, ReadError> {
    let start = body.offset;
    let link = Link::new(body.u16("a link type")?.into(), start).ok();
    body.take(6, "an interface")?;
    let order = body.order;
    let (mut per_second, mut offset) = (Some(1_000_000), 0);
    body.options(|code, value| match (code, value) {
        (IF_TSRESOL, [digits @ 0..0x80]) => per_second = 10_u64.checked_pow((*digits).into()),
        (IF_TSRESOL, [bits]) => per_second = 1_u64.checked_shl((bits & 0x7f).into()),
        (IF_TSOFFSET, value) => {
            let value = value.try_into().unwrap_or_default();
            offset =
                if order.little { i64::from_le_bytes(value) } else { i64::from_be_bytes(value) };
        }
        _ => {}
    })?;
    let Some(per_second) = per_second else {
        return Err(ReadError::new(
            start,
            "the resolution of the interface's times is finer than supported",
        ));
    };
    Ok(Interface { link, per_second, offset, dropped: 0 })
}

/// The number of packets that an interface has dropped since its previous statistics. A block has
/// the number since the beginning of the capture.
fn dropped(mut body: Body<'_>, interfaces: &mut [Interface]) -> Result<u64, ReadError> {
    let start = body.offset;
    let number = body.u32("an interface")?;
    body.take(8, "a time")?;
    let interface = interfaces.get_mut(number as usize);
    let interface = interface.ok_or_else(|| unknown_interface(start, number))?;
    let (order, mut dropped) = (body.order, 0);
    body.options(|code, value| {
        if let (ISB_IFDROP, Ok(value)) = (code, value.try_into()) {
            let total =
                if order.little { u64::from_le_bytes(value) } else { u64::from_be_bytes(value) };
            dropped = total.saturating_sub(interface.dropped);
            interface.dropped = interface.dropped.max(total);
        }
    })?;
    Ok(dropped)
}

fn unknown_interface(offset: u64, number: u32) -> ReadError {
    ReadError::new(offset, format!("expected a known interface, found {number}"))
}

fn enhanced_packet<'a>(
    mut body: Body<'a>,
    interfaces: &[Interface],
) -> Result<Packet<'a>, ReadError> {
    let start = body.offset;
    let number = body.u32("an interface")?;
    let interface = interfaces.get(number as usize);
    let interface = interface.ok_or_else(|| unknown_interface(start, number))?;
    let ticks = u64::from(body.u32("a time")?) << 32 | u64::from(body.u32("a time")?);
    let length = body.u32("a length")? as usize;
    body.take(4, "a length")?;
    let bytes = body.take(length, "a packet")?;
    body.take((length.wrapping_neg() % 4).min(body.bytes.len()), "padding")?;
    let mut comment = None;
    body.options(|code, value| {
        if code == OPT_COMMENT && comment.is_none() {
            comment = str::from_utf8(value).ok();
        }
    })?;
    let Interface { link, per_second, offset, .. } = *interface;
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_second);
    let nanos = (nanos as i128 + i128::from(offset) * 1_000_000_000).max(0);
    Ok(Packet { time: u64::try_from(nanos).unwrap_or(u64::MAX), link, bytes, comment })
}

/// A packet of the first interface. It has no time.
fn simple_packet<'a>(
    mut body: Body<'a>,
    interfaces: &[Interface],
) -> Result<Packet<'a>, ReadError> {
    let Some(interface) = interfaces.first() else {
        return Err(ReadError::new(body.offset, "expected an interface before a packet"));
    };
    let length = (body.u32("a length")? as usize).min(body.bytes.len());
    let bytes = body.take(length, "a packet")?;
    Ok(Packet { time: 0, link: interface.link, bytes, comment: None })
}
