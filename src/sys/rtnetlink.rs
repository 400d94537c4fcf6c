//! Network interfaces over route netlink: looked at, changed, removed.
//!
//! A socket belongs to the network namespace of the thread that opened it. Netlink and not sysfs, which shows the
//! namespace of whoever mounted it. Numbers and layouts are those of `linux/netlink.h`, `linux/rtnetlink.h` and
//! `linux/if_link.h`; all of them are in the host's byte order.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `RTM_NEWLINK`: makes an interface, or changes one.
const RTM_NEWLINK: u16 = 16;
/// `RTM_DELLINK`.
const RTM_DELLINK: u16 = 17;
/// `RTM_GETLINK`.
const RTM_GETLINK: u16 = 18;
/// `NLMSG_ERROR`: the end of an answer; its error number is 0 where all went well.
const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list.
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
const ACK: u16 = 0x4;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// `IFF_UP`.
const IFF_UP: u32 = 1;
/// Attributes of an interface.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
/// `NLA_TYPE_MASK`: an attribute's number without its flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// `RTEXT_FILTER_SKIP_STATS`: counters are half of an answer and not needed.
const SKIP_STATS: u32 = 8;
/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Length of `struct ifinfomsg`.
const INFO_LEN: usize = 16;
/// The kernel makes the messages of a list fit into what the reader offers, up to 32 KiB.
const ANSWER_LEN: usize = 32 * 1024;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its number in its network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up, as the administrator has set it.
    pub up: bool,
    /// Its maximum transmission unit, bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub address: Vec<u8>,
    /// What kind of virtual interface it is: `veth`, `bridge`, …
    pub kind: Option<String>,
    /// The bridge, bond or the like that it is a port of.
    pub master: Option<u32>,
    /// The interface it hangs on: for a veth the other end.
    pub peer: Option<u32>,
    /// Whether that one is in another network namespace.
    pub peer_elsewhere: bool,
}

/// A change of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Up or down.
    Up(bool),
    /// The maximum transmission unit, bytes.
    Mtu(u32),
    /// Port of this one, or of none.
    Master(Option<u32>),
    /// Its hardware address.
    Address(&'a [u8]),
}

/// A route netlink socket.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Where the kernel has none to give.
    pub fn open() -> io::Result<Self> {
        // No protocol is NETLINK_ROUTE, number 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// Every interface.
    ///
    /// # Errors
    /// Where the kernel does not answer as it should.
    pub fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let mut request = Message::new(RTM_GETLINK, REQUEST | DUMP, 0);
        request.attribute(IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
        self.ask(&request)
    }

    /// Changes an interface.
    ///
    /// # Errors
    /// The kernel's: no such interface, not permitted (CAP_NET_ADMIN), a value it does not take.
    pub fn change(&self, index: u32, change: Change<'_>) -> io::Result<()> {
        let mut request = Message::new(RTM_NEWLINK, REQUEST | ACK, index);
        match change {
            Change::Up(up) => request.flags(if up { IFF_UP } else { 0 }, IFF_UP),
            Change::Mtu(mtu) => request.attribute(IFLA_MTU, &mtu.to_ne_bytes()),
            Change::Master(master) => request.attribute(IFLA_MASTER, &master.unwrap_or(0).to_ne_bytes()),
            Change::Address(address) => request.attribute(IFLA_ADDRESS, address),
        }
        self.ask(&request).map(drop)
    }

    /// Removes a virtual interface, and of a veth the other end with it.
    ///
    /// # Errors
    /// As for [`Netlink::change`].
    pub fn remove(&self, index: u32) -> io::Result<()> {
        self.ask(&Message::new(RTM_DELLINK, REQUEST | ACK, index)).map(drop)
    }

    fn ask(&self, request: &Message) -> io::Result<Vec<Interface>> {
        send(&self.socket, &request.bytes(), SendFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; ANSWER_LEN];
        loop {
            let (read, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            if length > read {
                return Err(garbled());
            }
            if take(buffer.get(..read).unwrap_or_default(), &mut found)? {
                return Ok(found);
            }
        }
    }
}

/// A request: `struct nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid; }`,
/// `struct ifinfomsg { u8 family; u8 pad; u16 type; i32 index; u32 flags; u32 change; }`, attributes.
#[derive(Debug)]
struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, index: u32) -> Self {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        Self { kind, flags, body }
    }

    /// Sets the interface's flags in `mask`.
    fn flags(&mut self, flags: u32, mask: u32) {
        self.body.truncate(INFO_LEN - 8);
        self.body.extend(flags.to_ne_bytes());
        self.body.extend(mask.to_ne_bytes());
    }

    /// Appends `struct nlattr { u16 len; u16 type; }` and its value, padded to four bytes.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        // Values are numbers and addresses of a few bytes, and in tests names.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(HEADER_LEN + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::from(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&self.body);
        bytes
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "route netlink gave a garbled answer")
}

/// Takes the interfaces out of one datagram; true at the end of the answer.
fn take(mut datagram: &[u8], found: &mut Vec<Interface>) -> io::Result<bool> {
    while !datagram.is_empty() {
        let length = number(datagram, 0).ok_or_else(garbled)? as usize;
        let message = datagram.get(..length).ok_or_else(garbled)?;
        let body = message.get(HEADER_LEN..).ok_or_else(garbled)?;
        match short(message, 4) {
            Some(NLMSG_DONE) => return Ok(true),
            Some(NLMSG_ERROR) => {
                return match number(body, 0).map(u32::cast_signed) {
                    Some(0) => Ok(true),
                    Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
                    None => Err(garbled()),
                };
            }
            Some(RTM_NEWLINK) => found.push(interface(body).ok_or_else(garbled)?),
            _ => return Err(garbled()),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface {
        index: number(body, 4)?,
        up: number(body, 8)? & IFF_UP != 0,
        ..Interface::default()
    };
    for (kind, value) in attributes(body.get(INFO_LEN..)?) {
        match kind {
            IFLA_IFNAME => interface.name = text(value),
            IFLA_MTU => interface.mtu = number(value, 0)?,
            IFLA_ADDRESS => interface.address = value.to_owned(),
            IFLA_MASTER => interface.master = number(value, 0).filter(|index| *index != 0),
            IFLA_LINK => interface.peer = number(value, 0).filter(|index| *index != 0),
            IFLA_LINK_NETNSID => interface.peer_elsewhere = true,
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                interface.kind = kind.map(|(_, name)| text(name));
            }
            _ => {}
        }
    }
    Some(interface)
}

/// The attributes in a part of a message, up to the first that is cut off.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(short(bytes, 0)?);
        let kind = short(bytes, 2)? & ATTRIBUTE_TYPE;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(two.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Interfaces to test on.

    use std::os::fd::{AsRawFd, BorrowedFd};

    use super::*;

    /// `NLM_F_EXCL | NLM_F_CREATE`.
    const CREATE: u16 = 0x200 | 0x400;
    const IFLA_NET_NS_FD: u16 = 28;
    const IFLA_INFO_DATA: u16 = 2;
    const VETH_INFO_PEER: u16 = 1;

    fn part(fill: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut inner = Message {
            kind: 0,
            flags: 0,
            body: Vec::new(),
        };
        fill(&mut inner);
        inner.body
    }

    impl Netlink {
        /// Makes a bridge.
        pub(crate) fn make_bridge(&self, name: &str) {
            let mut request = Message::new(RTM_NEWLINK, REQUEST | ACK | CREATE, 0);
            request.attribute(IFLA_IFNAME, name.as_bytes());
            request.attribute(IFLA_LINKINFO, &part(|info| info.attribute(IFLA_INFO_KIND, b"bridge")));
            self.ask(&request).unwrap();
        }

        /// Makes a veth pair with the end `inside` in another namespace.
        pub(crate) fn make_veth(&self, outside: &str, inside: &str, namespace: BorrowedFd<'_>) {
            let peer = part(|peer| {
                peer.body = vec![0; INFO_LEN];
                peer.attribute(IFLA_IFNAME, inside.as_bytes());
                peer.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
            });
            let info = part(|info| {
                info.attribute(IFLA_INFO_KIND, b"veth");
                info.attribute(IFLA_INFO_DATA, &part(|data| data.attribute(VETH_INFO_PEER, &peer)));
            });
            let mut request = Message::new(RTM_NEWLINK, REQUEST | ACK | CREATE, 0);
            request.attribute(IFLA_IFNAME, outside.as_bytes());
            request.attribute(IFLA_LINKINFO, &info);
            self.ask(&request).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(error: i32) -> Vec<u8> {
        let mut message = Message::new(NLMSG_ERROR, 0, 0);
        message.body = Vec::from(error.to_ne_bytes());
        message.body.extend([0; HEADER_LEN]);
        message.bytes()
    }

    #[test]
    fn the_end_of_an_answer_says_how_it_went() {
        let mut none = Vec::new();
        assert!(take(&end(0), &mut none).unwrap());
        let denied = take(&end(-1), &mut none).unwrap_err();
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        let odd = take(&end(i32::MIN), &mut none).unwrap_err();
        assert_eq!(odd.raw_os_error(), Some(i32::MAX));
        assert!(take(&Message::new(NLMSG_DONE, 0, 0).bytes(), &mut none).unwrap());
    }

    #[test]
    fn an_interface_is_read() {
        let mut message = Message::new(RTM_NEWLINK, 0, 7);
        message.flags(0x1043, 0);
        message.attribute(IFLA_IFNAME, b"vethc1\0");
        message.attribute(IFLA_MTU, &9000_u32.to_ne_bytes());
        message.attribute(IFLA_ADDRESS, &[0xfe, 1, 2, 3, 4, 5]);
        message.attribute(IFLA_LINK, &2_u32.to_ne_bytes());
        message.attribute(IFLA_LINK_NETNSID, &0_u32.to_ne_bytes());
        message.attribute(IFLA_MASTER, &3_u32.to_ne_bytes());
        let mut info = Message::new(0, 0, 0);
        info.body.clear();
        info.attribute(IFLA_INFO_KIND, b"veth\0");
        message.attribute(IFLA_LINKINFO | 0x8000, &info.body);
        let mut found = Vec::new();
        assert!(!take(&message.bytes(), &mut found).unwrap());
        let expected = Interface {
            index: 7,
            name: "vethc1".to_owned(),
            up: true,
            mtu: 9000,
            address: vec![0xfe, 1, 2, 3, 4, 5],
            kind: Some("veth".to_owned()),
            master: Some(3),
            peer: Some(2),
            peer_elsewhere: true,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let mut short = Message::new(RTM_NEWLINK, 0, 1);
        short.body.truncate(6);
        let mut long = end(0);
        long[0] = 200;
        for bad in [vec![0; 19], short.bytes(), long, Message::new(99, 0, 0).bytes()] {
            let error = take(&bad, &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn the_loopback_interface_is_seen_by_everybody() {
        let all = Netlink::open().unwrap().interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert_eq!((lo.index, lo.kind.as_deref(), lo.master), (1, None, None));
        assert!(lo.mtu > 0);
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let error = Netlink::open()
            .unwrap()
            .change(u32::MAX >> 1, Change::Up(true))
            .unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
                || error.raw_os_error() == Some(19),
            "{error:?}"
        );
    }
}
