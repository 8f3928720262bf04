//! The local address of a UDP datagram (IP_PKTINFO, RFC 3542 section 6), so that a socket bound to
//! all addresses answers from the address that the client sent to.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::{
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
        setsockopt, sockopt,
    },
};
use tokio::net::UdpSocket;

/// The local address of a datagram; `Unknown` if the system does not report it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PacketInfo {
    V4(in_pktinfo),
    V6(in6_pktinfo),
    Unknown,
}

impl PacketInfo {
    /// The local address, if the system reports it.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            PacketInfo::V4(info) => {
                Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).into())
            }
            PacketInfo::V6(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
            PacketInfo::Unknown => None,
        }
    }
}

/// Asks the system to report the local address of each datagram.
pub(crate) fn enable(socket: &UdpSocket) -> io::Result<()> {
    match socket.local_addr()? {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Receives one datagram: its length, its sender and its local address.
pub(crate) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, PacketInfo)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(in_pktinfo, in6_pktinfo);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    )?;
    let local = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(PacketInfo::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(PacketInfo::V6(info)),
        _ => None,
    });
    let from = message.address.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|&v4| SocketAddr::V4(v4.into()));
        v4.or_else(|| from.as_sockaddr_in6().map(|&v6| SocketAddr::V6(v6.into())))
    });
    let from = from.ok_or_else(|| io::Error::other("a datagram without a sender"))?;
    Ok((message.bytes, from, local.unwrap_or(PacketInfo::Unknown)))
}

/// Sends one datagram from the address `local`.
pub(crate) fn send(
    socket: &UdpSocket,
    bytes: &[u8],
    to: SocketAddr,
    local: &PacketInfo,
) -> io::Result<()> {
    let to = SockaddrStorage::from(to);
    let parts = [IoSlice::new(bytes)];
    let socket = socket.as_raw_fd();
    let send = |control: &[ControlMessage<'_>]| {
        sendmsg(socket, &parts, control, MsgFlags::empty(), Some(&to)).map(|_| ())
    };
    match local {
        // Interface 0: the routing table selects the interface.
        PacketInfo::V4(info) => {
            send(&[ControlMessage::Ipv4PacketInfo(&in_pktinfo { ipi_ifindex: 0, ..*info })])?;
        }
        PacketInfo::V6(info) => send(&[ControlMessage::Ipv6PacketInfo(info)])?,
        PacketInfo::Unknown => send(&[])?,
    }
    Ok(())
}
