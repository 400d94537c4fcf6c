//! Ports of this host that somebody listens on already, as the kernel's tables in /proc/net say.
//!
//! podman holds every port that it publishes by a socket of its own, so its other containers are seen, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rewrite::podman::PublishedPort;

/// The tables, and the state of a socket that takes what comes: a listening one of TCP, an unconnected one of UDP.
const TABLES: [(&str, &str, &str); 4] = [
    ("/proc/net/tcp", "tcp", "0A"),
    ("/proc/net/tcp6", "tcp", "0A"),
    ("/proc/net/udp", "udp", "07"),
    ("/proc/net/udp6", "udp", "07"),
];

/// Those of these ports that are taken, for messages.
pub(super) fn taken(ports: &[PublishedPort]) -> Vec<String> {
    let mut listening = Vec::new();
    for (path, protocol, state) in TABLES {
        // A kernel without version 6 has no such table.
        let table = std::fs::read_to_string(path).unwrap_or_default();
        listening.extend(sockets(&table, state).map(|(address, port)| (protocol, address, port)));
    }
    let is_taken = |port: &&PublishedPort| {
        listening
            .iter()
            .any(|(protocol, address, number)| port.collides(protocol, *address, *number))
    };
    ports.iter().filter(is_taken).map(ToString::to_string).collect()
}

/// The local addresses of the sockets in a state.
fn sockets<'a>(table: &'a str, state: &'a str) -> impl Iterator<Item = (IpAddr, u16)> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        let of_state = fields.nth(1) == Some(state);
        let port = u16::from_str_radix(port, 16).ok()?;
        of_state.then_some(())?;
        Some((self::address(address)?, port))
    })
}

/// An address as the tables write it: words of 32 bits as the processor reads them, in hexadecimal.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at..at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_read_from_the_kernel_s_tables() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
                   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
                   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
                   2: 0100007F:0051 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0\n\
                   3: nonsense\n";
        let found: Vec<_> = sockets(tcp, "0A").collect();
        assert_eq!(
            found,
            [
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
                (IpAddr::V4(Ipv4Addr::LOCALHOST), 80)
            ]
        );
        let tcp6 = "head\n 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0\n";
        let found: Vec<_> = sockets(tcp6, "0A").collect();
        assert_eq!(found, [(IpAddr::V6(Ipv6Addr::LOCALHOST), 22)]);
    }

    #[test]
    fn a_port_that_is_listened_on_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let port = |host_port, protocol: &str| PublishedPort {
            address: None,
            first: host_port,
            count: 1,
            protocol: protocol.to_owned(),
        };
        assert_eq!(taken(&[port(number, "tcp")]), [format!("{number}/tcp")]);
        assert!(taken(&[port(number, "udp")]).is_empty());
    }
}
