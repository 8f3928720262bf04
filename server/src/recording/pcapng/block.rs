//! Blocks of a pcapng file, in little-endian byte order.

/// The link type of packets that begin with an IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;

/// Types of blocks.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Options: of all blocks, of a section header, of an interface, and of its statistics.
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_IFDROP: u16 = 5;

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 4096;

/// The packets of an event.
#[derive(Debug)]
pub(super) struct Packets<'a> {
    /// The time of the packets, in nanoseconds since 1970.
    pub(super) time: u64,
    /// The comment of the first packet.
    pub(super) comment: &'a mut String,
    /// The file.
    pub(super) out: &'a mut Vec<u8>,
}

/// Appends the start of a file: a section header and an interface.
pub(super) fn start(out: &mut Vec<u8>) {
    block(out, SECTION_HEADER, |out| {
        out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        out.extend_from_slice(&[1, 0, 0, 0]);
        // The length of the section is not known.
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        option(out, SHB_USERAPPL, concat!("echogate ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(out);
    });
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        // Reserved, and packets of any length.
        out.extend_from_slice(&[0; 6]);
        option(out, IF_NAME, b"echogate");
        // Nanoseconds: 10 to the power of -9.
        option(out, IF_TSRESOL, &[9]);
        end_of_options(out);
    });
}

/// Appends the statistics of the interface: the number of connections of which the file has no packet.
pub(super) fn dropped(time: u64, count: u64, comment: &str, out: &mut Vec<u8>) {
    block(out, INTERFACE_STATISTICS, |out| {
        let [high, low] = halves(time);
        out.extend_from_slice([[0; 4], high, low].as_flattened());
        option(out, OPT_COMMENT, comment.as_bytes());
        option(out, ISB_IFDROP, &count.to_le_bytes());
        end_of_options(out);
    });
}

/// The upper and the lower half of a time.
fn halves(time: u64) -> [[u8; 4]; 2] {
    [(time >> 32) as u32, time as u32].map(u32::to_le_bytes)
}

impl Packets<'_> {
    /// Appends a packet that `write` appends to the file.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let Packets { time, comment, out } = self;
        block(out, ENHANCED_PACKET, |out| {
            let [high, low] = halves(*time);
            // The interface, the time, and two lengths.
            out.extend_from_slice([[0; 4], high, low, [0; 4], [0; 4]].as_flattened());
            let packet = out.len();
            let lengths = packet - 8;
            write(out);
            let length = out.len() - packet;
            set_length(out, lengths, length);
            set_length(out, lengths + 4, length);
            pad(out, packet);
            if !comment.is_empty() {
                let end = comment.floor_char_boundary(MAX_COMMENT);
                option(out, OPT_COMMENT, &comment.as_bytes()[..end]);
                end_of_options(out);
                comment.clear();
            }
        });
    }
}

fn block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = out.len() - start + 4;
    out.extend_from_slice(&(length as u32).to_le_bytes());
    set_length(out, start + 4, length);
}

/// Writes a length over the 4 bytes at `at`.
fn set_length(out: &mut [u8], at: usize, length: usize) {
    let field = out[at..].first_chunk_mut().expect("the field is in front of what it measures");
    *field = (length as u32).to_le_bytes();
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    let start = out.len();
    out.extend(value);
    pad(out, start);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

/// Pads what begins at `start` to a multiple of 4 bytes.
fn pad(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    out.resize(start + length.next_multiple_of(4), 0);
}
