//! The network of the container's namespaces: devices (`netdev`), addresses (`ifaddr`) and routes (`route`, `route6`).
//!
//! The latter two are what `ip addr save` and `ip route save` write: a magic number and netlink messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::Serialize;

use super::error::{Error, Problem};
use super::limits::MAX_NETWORK;
use super::proto;
use super::record::{NETDEV, Records};
use super::source::ImageSource;
use super::text::text;

// iproute2: ip/ipaddress.c and ip/iproute.c.
const ADDRESSES_MAGIC: u32 = 0x4736_1222;
const ROUTES_MAGIC: u32 = 0x4531_1224;
// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h.
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGN: usize = 4;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const MAIN_TABLE: u8 = 254;
const IFF_UP: u32 = 1;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Device {
    /// Number of the network namespace in the images.
    pub namespace: u64,
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `loopback`, `veth`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it was up.
    pub up: bool,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InterfaceAddress {
    /// The address.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// Bits of it that are the network's.
    pub prefix: u8,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Route {
    /// Number of the network namespace in the images.
    pub namespace: u64,
    /// Where to; `null` for everywhere.
    #[schemars(with = "Option<String>")]
    pub destination: Option<IpAddr>,
    /// Bits of the destination.
    pub prefix: u8,
    /// The gateway.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Number of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
}

/// The network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Network {
    /// Devices with their addresses.
    pub devices: Vec<Device>,
    /// Routes.
    pub routes: Vec<Route>,
}

/// The network of all namespaces that are in the images.
pub(super) fn read(images: &dyn ImageSource) -> Result<Network, Error> {
    let mut network = Network::default();
    for (namespace, name) in images.numbered("netdev") {
        let image = images.read(&name)?;
        for entry in Records::of(NETDEV, &name, &image)?.decoded() {
            bounded(&name, network.devices.len())?;
            network.devices.push(device(namespace, &entry?));
        }
    }
    let mut count = 0;
    for (namespace, name) in images.numbered("ifaddr") {
        let image = images.read(&name)?;
        for (index, address) in addresses(&name, &image)? {
            count += 1;
            bounded(&name, count)?;
            let mut devices = network.devices.iter_mut();
            if let Some(device) = devices.find(|device| (device.namespace, device.index) == (namespace, index)) {
                device.addresses.push(address);
            }
        }
    }
    for prefix in ["route", "route6"] {
        for (namespace, name) in images.numbered(prefix) {
            let image = images.read(&name)?;
            network.routes.extend(routes(namespace, &name, &image)?);
            bounded(&name, network.routes.len())?;
        }
    }
    Ok(network)
}

fn bounded(name: &str, count: usize) -> Result<(), Error> {
    match count {
        MAX_NETWORK.. => Err(Error::too_many(name, "records", MAX_NETWORK)),
        _ => Ok(()),
    }
}

fn device(namespace: u64, entry: &proto::NetDevice) -> Device {
    let mac = entry
        .address
        .as_deref()
        .filter(|address| (1..=32).contains(&address.len()));
    let mac = mac.map(|address| {
        address
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(":")
    });
    Device {
        namespace,
        index: entry.ifindex,
        name: text(&entry.name),
        kind: kind(entry.r#type),
        up: entry.flags & IFF_UP != 0,
        mtu: entry.mtu,
        mac,
        addresses: Vec::new(),
    }
}

/// CRIU's numbers: `nd_type` in its `netdev.proto`.
fn kind(number: u32) -> &'static str {
    match number {
        1 => "loopback",
        2 => "veth",
        3 => "tun",
        4 => "external",
        5 => "venet",
        6 => "bridge",
        7 => "macvlan",
        8 => "sit",
        _ => "other",
    }
}

fn addresses(name: &str, image: &[u8]) -> Result<Vec<(u32, InterfaceAddress)>, Error> {
    let mut found = Vec::new();
    for body in messages(name, image, ADDRESSES_MAGIC, NEW_ADDRESS)? {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let Some((&[family, prefix, _, _, a, b, c, d], attributes)) = body.split_first_chunk() else {
            return Err(Error::image(name, Problem::Message));
        };
        // IFA_LOCAL is the own address where IFA_ADDRESS is that of the other end.
        let address = attribute(attributes, 2).or_else(|| attribute(attributes, 1));
        if let Some(address) = address.and_then(|bytes| ip(family, bytes)) {
            found.push((u32::from_le_bytes([a, b, c, d]), InterfaceAddress { address, prefix }));
        }
    }
    Ok(found)
}

fn routes(namespace: u64, name: &str, image: &[u8]) -> Result<Vec<Route>, Error> {
    let mut found = Vec::new();
    for body in messages(name, image, ROUTES_MAGIC, NEW_ROUTE)? {
        // struct rtmsg: family, destination length, source length, tos, table, protocol, scope, type, flags.
        let Some((&[family, prefix, _, _, table, _, _, _, _, _, _, _], attributes)) = body.split_first_chunk() else {
            return Err(Error::image(name, Problem::Message));
        };
        if table != MAIN_TABLE {
            continue;
        }
        let address = |number| attribute(attributes, number).and_then(|bytes| ip(family, bytes));
        let device = attribute(attributes, 4).and_then(|bytes| bytes.first_chunk().copied().map(u32::from_le_bytes));
        found.push(Route {
            namespace,
            destination: address(1),
            prefix,
            gateway: address(5),
            device,
        });
    }
    Ok(found)
}

fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        2 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        10 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// The bodies of all netlink messages of one type.
fn messages<'a>(name: &str, image: &'a [u8], magic: u32, wanted: u16) -> Result<Vec<&'a [u8]>, Error> {
    let bad = |problem| Error::image(name, problem);
    // A namespace without any has an empty image.
    if image.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = image
        .strip_prefix(&magic.to_le_bytes())
        .ok_or_else(|| bad(Problem::Magic))?;
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let (&[a, b, c, d, e, f], _) = rest.split_first_chunk().ok_or_else(|| bad(Problem::CutOff))?;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let message = rest.get(..length).filter(|_| length >= MESSAGE_HEADER);
        let message = message.ok_or_else(|| bad(Problem::CutOff))?;
        if u16::from_le_bytes([e, f]) == wanted {
            bodies.push(&message[MESSAGE_HEADER..]);
        }
        if bodies.len() > MAX_NETWORK {
            return Err(Error::too_many(name, "records", MAX_NETWORK));
        }
        rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    Ok(bodies)
}

/// The value of the first attribute of that number.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (&[a, b, c, d], _) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([a, b]));
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        if u16::from_le_bytes([c, d]) == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(ALIGN)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = (MESSAGE_HEADER + body.len()) as u32;
        let mut bytes = [&length.to_le_bytes()[..], &kind.to_le_bytes(), &[0; 10], body].concat();
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes
    }

    fn attribute_of(number: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [
            &((4 + value.len()) as u16).to_le_bytes()[..],
            &number.to_le_bytes(),
            value,
        ]
        .concat();
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes
    }

    #[test]
    fn addresses_are_those_of_the_device_itself() {
        let own = [
            &[2, 24, 0, 0, 7, 0, 0, 0][..],
            &attribute_of(1, &[10, 0, 0, 9]),
            &attribute_of(2, &[10, 0, 0, 1]),
        ]
        .concat();
        let image = [
            ADDRESSES_MAGIC.to_le_bytes().to_vec(),
            message(16, &[]),
            message(NEW_ADDRESS, &own),
        ]
        .concat();
        let (index, address) = addresses("ifaddr-1.img", &image).unwrap()[0];
        assert_eq!(
            (index, address.address.to_string(), address.prefix),
            (7, "10.0.0.1".to_owned(), 24)
        );
    }

    #[test]
    fn only_routes_of_the_main_table_are_shown() {
        let of = |table| {
            [
                &[2, 0, 0, 0, table, 3, 0, 1, 0, 0, 0, 0][..],
                &attribute_of(5, &[10, 0, 0, 1]),
                &attribute_of(4, &[2, 0, 0, 0]),
            ]
            .concat()
        };
        let image = [
            ROUTES_MAGIC.to_le_bytes().to_vec(),
            message(NEW_ROUTE, &of(255)),
            message(NEW_ROUTE, &of(MAIN_TABLE)),
        ]
        .concat();
        let routes = routes(3, "route-3.img", &image).unwrap();
        assert_eq!(routes.len(), 1);
        assert_eq!(
            (
                routes[0].destination,
                routes[0].gateway.unwrap().to_string(),
                routes[0].device
            ),
            (None, "10.0.0.1".to_owned(), Some(2))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_there_is_messages_or_an_error(bytes: Vec<u8>) {
            for (magic, kind) in [(ADDRESSES_MAGIC, NEW_ADDRESS), (ROUTES_MAGIC, NEW_ROUTE)] {
                let image = [&magic.to_le_bytes()[..], &bytes].concat();
                let _ = addresses("x", &image);
                let _ = routes(1, "x", &image);
                let framed = [&magic.to_le_bytes()[..], &message(kind, &bytes)].concat();
                let _ = addresses("x", &framed);
                let _ = routes(1, "x", &framed);
            }
        }
    }
}
