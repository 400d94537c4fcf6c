//! Sockets: addresses, states, buffers and queues.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::Serialize;

use super::error::Error;
use super::proto;
use super::record::{TCP_STREAM, first};
use super::source::ImageSource;
use super::text::text;

/// IPPROTO_TCP.
const TCP: u32 = 6;
/// TCP_CLOSE, the only state of which CRIU writes no stream image although the socket is one of TCP; and TCP_LISTEN.
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;

/// The family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SocketFamily {
    /// Internet protocol version 4.
    Ipv4,
    /// Internet protocol version 6.
    Ipv6,
    /// Of this host.
    Unix,
    /// To the kernel.
    Netlink,
    /// To a network device.
    Packet,
    /// Another one.
    Other,
}

/// An address and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Endpoint {
    /// The address; `null` where the image has none.
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
            Some(IpAddr::V4(address)) => write!(f, "{address}:{port}"),
            None => write!(f, "*:{port}"),
        }
    }
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Socket {
    /// Its family.
    pub family: SocketFamily,
    /// The protocol: `TCP`, `UDP`, `UNIX`, …
    pub protocol: String,
    /// `stream`, `datagram`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state, under the kernel's name: `LISTEN`, `ESTABLISHED`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Endpoint>,
    /// That of the other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Endpoint>,
    /// Name of a Unix socket; abstract names begin with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Inode number.
    pub inode: u32,
    /// Inode number of the Unix socket at the other end; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// Size of the buffer of what is sent, bytes.
    pub send_buffer: u32,
    /// Size of the buffer of what is received, bytes.
    pub receive_buffer: u32,
    /// Bytes received and not yet read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_queue: Option<u32>,
    /// Bytes written and not yet acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_queue: Option<u32>,
    /// Length of the queue of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// The device that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip)]
    pub(super) flags: u32,
}

impl Socket {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let state = self
            .state
            .as_deref()
            .map(|state| format!(" {state}"))
            .unwrap_or_default();
        match (self.family, &self.local, &self.remote) {
            (SocketFamily::Unix, ..) => {
                let name = self.path.as_deref().filter(|path| !path.is_empty());
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                let peer = self.peer.filter(|peer| *peer > 0).map(|peer| format!(" -> {peer}"));
                format!(
                    "unix {}[{}]{}{state}{name}",
                    self.kind,
                    self.inode,
                    peer.unwrap_or_default()
                )
            }
            (_, Some(local), Some(remote)) if remote.port != 0 => {
                format!("{}{state} {local} -> {remote}", self.protocol)
            }
            (_, Some(local), _) => format!("{}{state} {local}", self.protocol),
            _ => format!("{} [{}]", self.protocol, self.kind),
        }
    }

    /// What makes it the same socket in another checkpoint of the same container.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.family {
            SocketFamily::Unix => format!("unix {} {}", self.kind, self.path.as_deref().unwrap_or_default()),
            _ => self.summary(),
        }
    }
}

/// The socket of an entry of `files.img`; `None` for other files.
pub(super) fn of(images: &dyn ImageSource, file: &proto::File) -> Result<Option<Socket>, Error> {
    if let Some(entry) = &file.isk {
        return inet(images, entry).map(Some);
    }
    let packet = |entry: &proto::PacketSocket| {
        let protocol = format!("PACKET {:#06x}", u16::from_be(entry.protocol as u16));
        Socket {
            flags: entry.flags,
            ..plain(SocketFamily::Packet, protocol, entry.r#type, &entry.opts)
        }
    };
    let netlink = |entry: &proto::NetlinkSocket| Socket {
        inode: entry.ino,
        flags: entry.flags,
        ..plain(
            SocketFamily::Netlink,
            format!("NETLINK {}", netlink_name(entry.protocol)),
            3,
            &entry.opts,
        )
    };
    Ok(file
        .usk
        .as_ref()
        .map(unix)
        .or_else(|| file.psk.as_ref().map(packet))
        .or_else(|| file.nlsk.as_ref().map(netlink)))
}

fn plain(family: SocketFamily, protocol: String, kind: u32, options: &proto::SocketOptions) -> Socket {
    Socket {
        family,
        protocol,
        kind: kind_name(kind).to_owned(),
        state: None,
        local: None,
        remote: None,
        path: None,
        inode: 0,
        peer: None,
        send_buffer: options.so_sndbuf,
        receive_buffer: options.so_rcvbuf,
        receive_queue: None,
        send_queue: None,
        backlog: None,
        device: options
            .so_bound_dev
            .as_deref()
            .filter(|device| !device.is_empty())
            .map(text),
        flags: 0,
    }
}

fn inet(images: &dyn ImageSource, entry: &proto::InetSocket) -> Result<Socket, Error> {
    let (family, protocol) = match entry.family {
        10 => (SocketFamily::Ipv6, protocol_name(entry.proto)),
        2 => (SocketFamily::Ipv4, protocol_name(entry.proto)),
        _ => (SocketFamily::Other, protocol_name(entry.proto)),
    };
    let endpoint = |words: &[u32], port: u32| Endpoint {
        address: address(words),
        port: port as u16,
    };
    let mut socket = plain(family, protocol, entry.r#type, &entry.opts);
    socket.inode = entry.ino;
    socket.flags = entry.flags;
    socket.local = Some(endpoint(&entry.src_addr, entry.src_port));
    socket.remote = Some(endpoint(&entry.dst_addr, entry.dst_port));
    // A UDP socket is ESTABLISHED when it is connected and CLOSE when it is not: the kernel's own words.
    socket.state = state_name(entry.state).map(str::to_owned);
    socket.backlog = (entry.state == LISTEN).then_some(entry.backlog);
    if entry.proto == TCP && !matches!(entry.state, LISTEN | CLOSE) {
        let name = format!("tcp-stream-{:x}.img", entry.ino);
        if let Some(image) = images.find(&name)? {
            let stream: proto::TcpStream = first(TCP_STREAM, &name, &image)?;
            (socket.receive_queue, socket.send_queue) = (Some(stream.inq_len), Some(stream.outq_len));
        }
    }
    Ok(socket)
}

fn unix(entry: &proto::UnixSocket) -> Socket {
    let mut socket = plain(SocketFamily::Unix, "UNIX".to_owned(), entry.r#type, &entry.opts);
    socket.inode = entry.ino;
    socket.flags = entry.flags;
    socket.peer = Some(entry.peer);
    socket.backlog = (entry.state == LISTEN).then_some(entry.backlog);
    // A socket that is neither connected nor listens has the state CLOSE: the kernel's /proc/net/unix calls it unconnected.
    socket.state = match entry.state {
        LISTEN => Some("LISTEN".to_owned()),
        1 => Some("ESTABLISHED".to_owned()),
        _ => None,
    };
    socket.path = match entry.name.split_first() {
        None => None,
        Some((0, rest)) => Some(format!("@{}", text(rest))),
        Some(_) => {
            let name = text(entry.name.strip_suffix(b"\0").unwrap_or(&entry.name));
            let directory = entry.name_dir.as_deref().map(text).filter(|_| !name.starts_with('/'));
            Some(directory.map_or(name.clone(), |directory| format!("{directory}/{name}")))
        }
    };
    socket
}

/// CRIU keeps the words of an address as they are in memory, in network order.
fn address(words: &[u32]) -> Option<IpAddr> {
    let bytes: Vec<u8> = words.iter().take(4).flat_map(|word| word.to_le_bytes()).collect();
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        1 => "stream",
        2 => "datagram",
        3 => "raw",
        4 => "rdm",
        5 => "seqpacket",
        10 => "packet",
        _ => "unknown",
    }
}

fn protocol_name(protocol: u32) -> String {
    match protocol {
        0 => "IP",
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPV6",
        136 => "UDPLITE",
        255 => "RAW",
        other => return format!("IPPROTO {other}"),
    }
    .to_owned()
}

fn netlink_name(protocol: u32) -> String {
    match protocol {
        0 => "ROUTE",
        4 => "SOCK_DIAG",
        6 => "XFRM",
        9 => "AUDIT",
        12 => "NETFILTER",
        15 => "KOBJECT_UEVENT",
        16 => "GENERIC",
        other => return other.to_string(),
    }
    .to_owned()
}

/// The kernel's names: include/net/tcp_states.h.
fn state_name(state: u32) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        "NEW_SYN_RECV",
    ];
    NAMES.get((state as usize).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::super::collected::tests::collected;
    use super::super::record::image;
    use super::*;

    fn tcp(state: u32, words: &[u32]) -> proto::File {
        proto::File {
            isk: Some(proto::InetSocket {
                family: if words.len() == 4 { 10 } else { 2 },
                r#type: 1,
                proto: TCP,
                state,
                ino: 0x1f,
                src_port: 80,
                dst_port: 4000,
                src_addr: words.to_vec(),
                dst_addr: words.to_vec(),
                backlog: 128,
                ..proto::InetSocket::default()
            }),
            ..proto::File::default()
        }
    }

    #[test]
    fn addresses_are_in_network_order() {
        let loopback = u32::from_le_bytes([127, 0, 0, 1]);
        assert_eq!(address(&[loopback]).unwrap().to_string(), "127.0.0.1");
        let words = [
            u32::from_le_bytes([0xfe, 0x80, 0, 0]),
            0,
            0,
            u32::from_le_bytes([0, 0, 0, 1]),
        ];
        assert_eq!(address(&words).unwrap().to_string(), "fe80::1");
        assert_eq!((address(&[]), address(&[1, 2])), (None, None));
    }

    #[test]
    fn a_connection_has_its_queues_and_a_listener_its_backlog() {
        let stream = proto::TcpStream {
            inq_len: 5,
            outq_len: 7,
            ..proto::TcpStream::default()
        };
        let images = collected(&[("tcp-stream-1f.img", image(TCP_STREAM, &[stream]))]);
        let loopback = u32::from_le_bytes([127, 0, 0, 1]);
        let connected = of(&images, &tcp(1, &[loopback])).unwrap().unwrap();
        assert_eq!(connected.summary(), "TCP ESTABLISHED 127.0.0.1:80 -> 127.0.0.1:4000");
        assert_eq!(
            (connected.receive_queue, connected.send_queue, connected.backlog),
            (Some(5), Some(7), None)
        );
        let listens = of(&images, &tcp(LISTEN, &[0, 0, 0, 0])).unwrap().unwrap();
        assert_eq!(
            (listens.family, listens.backlog, listens.receive_queue),
            (SocketFamily::Ipv6, Some(128), None)
        );
    }

    #[test]
    fn unix_sockets_have_names_of_three_kinds() {
        let path_of = |entry: &proto::UnixSocket| unix(entry).path;
        let named = |name: &[u8], directory: Option<&str>| {
            let entry = proto::UnixSocket {
                r#type: 1,
                name: name.to_vec(),
                name_dir: directory.map(|name| name.as_bytes().to_vec()),
                ..proto::UnixSocket::default()
            };
            path_of(&entry)
        };
        assert_eq!(named(b"", None), None);
        assert_eq!(named(b"/run/a.sock\0", None).as_deref(), Some("/run/a.sock"));
        assert_eq!(named(b"\0abstract", None).as_deref(), Some("@abstract"));
        assert_eq!(named(b"a.sock\0", Some("/run")).as_deref(), Some("/run/a.sock"));
    }
}
