//! Networks: what the importer asks of an interface, and what this host must have for it.

use super::Rewriter;
use super::change::{Need, Note};
use super::refusal::Refusal;
use super::request::InterfaceRequest;
use crate::lxc::NetworkType;
use crate::lxc::keys::network_key;

/// A network, detached from the view it was found in.
struct Known {
    number: u32,
    interface: String,
    kind: Option<NetworkType>,
    link: Option<String>,
    pair: Option<String>,
}

impl Rewriter<'_> {
    /// Rewrites the networks whose interfaces the request names.
    pub(super) fn rewrite_networks(&mut self) {
        let known = self.known_networks();
        let request = self.request;
        for (interface, asked) in &request.interfaces {
            match known.iter().find(|network| network.interface == *interface) {
                Some(network) => self.rewrite_network(network, asked),
                None => self.refuse(Refusal::UnknownInterface {
                    interface: interface.clone(),
                    known: known.iter().map(|network| network.interface.clone()).collect(),
                }),
            }
        }
        let mut pairs = Vec::new();
        for network in &known {
            self.need_network(network, request.interfaces.get(&network.interface), &mut pairs);
        }
    }

    fn known_networks(&self) -> Vec<Known> {
        let networks = self.effective.networks().map(|network| Known {
            number: network.number(),
            interface: network.interface(),
            kind: network.kind(),
            link: network.get("link").map(|entry| entry.value.clone()),
            pair: network.get("veth.pair").map(|entry| entry.value.clone()),
        });
        networks.collect()
    }

    fn rewrite_network(&mut self, network: &Known, asked: &InterfaceRequest) {
        let linked = matches!(network.kind, Some(NetworkType::Veth | NetworkType::Macvlan));
        let unfit = (asked.link.is_some() && !linked).then_some("a link");
        let veth = asked.veth.is_some() && network.kind != Some(NetworkType::Veth);
        for what in unfit.into_iter().chain(veth.then_some("a veth pair")) {
            let interface = network.interface.clone();
            self.refuse(Refusal::InterfaceWithout { interface, what });
        }
        let scalars = [
            ("link", &asked.link),
            ("veth.pair", &asked.veth),
            ("hwaddr", &asked.hwaddr),
            ("ipv4.gateway", &asked.ipv4_gateway),
            ("ipv6.gateway", &asked.ipv6_gateway),
        ];
        for (part, value) in scalars {
            if let Some(value) = value {
                self.set_network(network.number, part, value);
            }
        }
        for (part, values) in [("ipv4.address", &asked.ipv4), ("ipv6.address", &asked.ipv6)] {
            if let Some(values) = values {
                self.replace_addresses(network.number, part, values);
            }
        }
        let addresses = asked.hwaddr.is_some() || asked.ipv4.is_some() || asked.ipv6.is_some();
        if addresses && !self.notes.contains(&Note::AddressesLater) {
            self.notes.push(Note::AddressesLater);
        }
    }

    /// Sets a scalar of a network: in its last line, or in a new one behind the network's own.
    fn set_network(&mut self, number: u32, part: &str, value: &str) {
        let key = network_key(number, part);
        let included = self.effective.get(&key).is_some_and(|entry| entry.place.file.is_some());
        match self.lines(|known| known == key).pop() {
            Some((index, ..)) if !included => self.set(index, value),
            _ => self.add_to_network(number, part, &[value.to_owned()], included),
        }
    }

    fn replace_addresses(&mut self, number: u32, part: &str, values: &[String]) {
        let key = network_key(number, part);
        let own: Vec<usize> = self.lines(|known| known == key).iter().map(|line| line.0).collect();
        let included = self.effective.all(&key).iter().any(|entry| entry.place.file.is_some());
        if own.len() == values.len() && !included {
            own.into_iter()
                .zip(values)
                .for_each(|(index, value)| self.set(index, value));
            return;
        }
        own.iter().for_each(|index| self.editor.remove(*index));
        if included {
            self.add_to_network(number, part, &[String::new()], true);
        }
        self.add_to_network(number, part, values, included);
    }

    /// Adds lines to a network: behind its last own line, or at the end, where they count whatever is included. Old keys
    /// mean the network before them, so that they have no place when all of it is included.
    fn add_to_network(&mut self, number: u32, part: &str, values: &[String], included: bool) {
        let prefix = format!("lxc.net.{number}.");
        let last = self
            .lines(|known| known.starts_with(&prefix))
            .pop()
            .map(|line| line.0 + 1);
        let end = self.inputs.config.lines().len();
        if (included || last.is_none()) && self.writes_old() {
            return self.refuse(Refusal::OldNetworkIncluded { number });
        }
        let place = last.filter(|_| !included).unwrap_or(end);
        let key = self.written_network(number, part);
        for value in values {
            self.add_after(place, &key, value);
        }
    }

    fn need_network(&mut self, network: &Known, asked: Option<&InterfaceRequest>, pairs: &mut Vec<String>) {
        let link = asked.and_then(|asked| asked.link.as_ref()).or(network.link.as_ref());
        if let Some(link) = link {
            // CRIU puts the end of a pair into a bridge of the kernel's, and into nothing else.
            let (name, inside) = (link.clone(), network.interface.clone());
            self.needs.insert(match &network.kind {
                Some(NetworkType::Veth) => Need::Bridge { name, inside },
                _ => Need::Interface { name, inside },
            });
        }
        let pair = asked.and_then(|asked| asked.veth.as_ref()).or(network.pair.as_ref());
        if let (Some(pair), Some(NetworkType::Veth)) = (pair, &network.kind) {
            if pairs.contains(pair) {
                self.refuse(Refusal::VethTwice { name: pair.clone() });
            }
            pairs.push(pair.clone());
            let (name, inside) = (pair.clone(), network.interface.clone());
            self.needs.insert(Need::FreeInterface { name, inside });
        }
    }
}
