//! `config.dump`, podman's own configuration of a container, and what of it reaches podman on this host.
//!
//! podman takes what is in it at its word: files that it writes, directories that it unmounts, sockets that it talks to. So
//! a new one is made of the keys that say how the container is, under their exact names (podman, as every program in Go,
//! takes `LogPath` for `logPath`); everything else is left out, and podman fills in its own.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// Keys that are kept. What podman would make files, mounts or connections of is not among them.
const KEPT: &[&str] = &[
    "CreateCommand",
    "MountLabel",
    "NOShmShare",
    "NoShm",
    "ProcessLabel",
    "RawImageName",
    "UseImageHosts",
    "UseImageResolvConf",
    "cgroupManager",
    "cgroupNsCtr",
    "cgroupParent",
    "cgroupsMode",
    "command",
    "createNetNS",
    "createWorkingDir",
    "createdTime",
    "dnsOption",
    "dnsSearch",
    "dnsServer",
    "entrypoint",
    "exposedPorts",
    "group_entry",
    "groups",
    "healthMaxLogCount",
    "healthMaxLogSize",
    "healthcheck",
    "healthcheck_on_failure_action",
    "hostsAdd",
    "id",
    "idMappingsOptions",
    "init_container_type",
    "ipcNsCtr",
    "kubeExitCodePropagation",
    "label_nested",
    "labelopts",
    "labels",
    "logDriver",
    "logSize",
    "logTag",
    "mountAllDevices",
    "name",
    "namedVolumes",
    "netNsCtr",
    "networkMode",
    "network_options",
    "networks",
    "newNetworks",
    "newPortMappings",
    "noCgroups",
    "passwd",
    "passwd_entry",
    "pidNsCtr",
    "pod",
    "portMappings",
    "postConfigureNetNS",
    "privileged",
    "readWriteTmpfs",
    "restart_policy",
    "restart_retries",
    "rootfsImageID",
    "rootfsImageName",
    "runtime",
    "sdnotifyMode",
    "secret_env",
    "secrets",
    "shmSize",
    "shmSizeSystemd",
    "startupHealthCheck",
    "staticIP",
    "staticMAC",
    "stdin",
    "stopSignal",
    "stopTimeout",
    "systemd",
    "timeout",
    "timezone",
    "umask",
    "useImageHostname",
    "user",
    "userVolumes",
    "utsNsCtr",
    "volatile",
];

/// A `config.dump` of podman's, read but not trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct PodmanConfig(Map<String, Value>);

/// A volume that the container mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUse {
    /// Its name.
    pub name: String,
    /// Where it is in the container.
    pub destination: String,
    /// Whether podman would make it with options of its driver, which may be any mount of the host.
    pub driver_options: bool,
}

/// Ports of the host that lead to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// The host's address, where it is not all of them.
    pub address: Option<IpAddr>,
    /// The first port.
    pub first: u16,
    /// How many in a row.
    pub count: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl PublishedPort {
    /// Whether a socket of this host that is bound to an address and a port stands in its way.
    #[must_use]
    pub fn collides(&self, protocol: &str, address: IpAddr, port: u16) -> bool {
        let ports = u32::from(self.first)..u32::from(self.first) + u32::from(self.count);
        let here = self
            .address
            .is_none_or(|own| own == address || address.is_unspecified());
        self.protocol == protocol && ports.contains(&u32::from(port)) && here
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(address) => write!(f, "{address}:")?,
            None => {}
        }
        write!(f, "{}", self.first)?;
        if self.count > 1 {
            write!(f, "-{}", u32::from(self.first) + u32::from(self.count) - 1)?;
        }
        write!(f, "/{}", self.protocol)
    }
}

impl PodmanConfig {
    /// Takes a `config.dump`; `None` for one that is not podman's: other engines write their ten keys.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let Ok(Value::Object(config)) = serde_json::from_slice(text) else {
            return None;
        };
        let config = Self(config);
        let named = ["id", "name", "rootfsImageID"].map(|key| config.text(key));
        (named[..2].iter().all(|text| !text.is_empty()) && config.0.contains_key("staticDir")).then_some(config)
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Value] {
        self.0.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn is_set(&self, key: &str) -> bool {
        match self.0.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// The container's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Its image: name, and identifier, which is the digest of what the image is.
    #[must_use]
    pub fn image(&self) -> (&str, &str) {
        (self.text("rootfsImageName"), self.text("rootfsImageID"))
    }

    /// Whether it belongs to a pod.
    #[must_use]
    pub fn is_of_pod(&self) -> bool {
        self.is_set("pod")
    }

    /// Whether podman gives it a network namespace.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.is_set("createNetNS")
    }

    /// The networks that it is connected to.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        let networks = self.0.get("newNetworks").and_then(Value::as_object);
        networks.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// The names of the secrets that podman hands it.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let name = |secret: &Value| secret.get("name").and_then(Value::as_str).map(str::to_owned);
        let in_environment = self.0.get("secret_env").and_then(Value::as_object);
        let in_environment = in_environment.into_iter().flat_map(Map::values).filter_map(name);
        let mut names: Vec<String> = self
            .list("secrets")
            .iter()
            .filter_map(name)
            .chain(in_environment)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The ports that it publishes.
    #[must_use]
    pub fn ports(&self) -> Vec<PublishedPort> {
        let published = |mapping: &Value| {
            let number = |key: &str| mapping.get(key).and_then(Value::as_u64);
            let text = |key: &str| mapping.get(key).and_then(Value::as_str).unwrap_or_default();
            let address: Option<IpAddr> = text("host_ip").parse().ok();
            let mapping = PublishedPort {
                address: address.filter(|address| !address.is_unspecified()),
                first: number("host_port").and_then(|port| u16::try_from(port).ok())?,
                count: number("range").and_then(|count| u16::try_from(count).ok())?.max(1),
                protocol: text("protocol").to_owned(),
            };
            Some(mapping)
        };
        // One mapping may be of several protocols: `tcp,udp`.
        let mappings = self.list("newPortMappings").iter().filter_map(published);
        let each = mappings.flat_map(|mapping| {
            let protocols: Vec<String> = mapping.protocol.split(',').map(str::to_owned).collect();
            let one = move |protocol| PublishedPort {
                protocol,
                ..mapping.clone()
            };
            protocols.into_iter().map(one)
        });
        each.collect()
    }

    /// Its volumes.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeUse> {
        let text = |volume: &Value, key: &str| volume.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of_driver = |volume: &Value| {
            let options = volume.get("options").and_then(Value::as_array).into_iter().flatten();
            options
                .filter_map(Value::as_str)
                .any(|option| option.starts_with("volume-opt"))
        };
        let volumes = self.list("namedVolumes").iter();
        volumes
            .map(|volume| VolumeUse {
                name: text(volume, "volumeName"),
                destination: super::spec::clean(&text(volume, "dest")),
                driver_options: of_driver(volume),
            })
            .collect()
    }

    /// What the container has that podman cannot restore, or only from what is on the old host.
    #[must_use]
    pub fn unrestorable(&self) -> Vec<&'static str> {
        let kinds = [
            ("rootfs", "a directory for its root file system (--rootfs)"),
            ("overlayVolumes", "volumes with an overlay (-v …:O)"),
            ("ctrImageVolumes", "images mounted as volumes"),
            ("cdiDevices", "devices of a CDI definition"),
            ("chroot_directories", "chroot directories"),
            ("pause", "the namespaces of a pod"),
            ("Dependencies", "other containers that it depends on"),
            ("mountNsCtr", "the mount namespace of another container"),
            ("userNsCtr", "the user namespace of another container"),
        ];
        let of_pod = self.is_of_pod();
        let userns = self
            .has_user_namespace()
            .then_some("a user namespace of its own (--userns, --uidmap)");
        kinds
            .into_iter()
            // The dependency of a container in a pod is the one that holds the pod's namespaces.
            .filter(|(key, _)| self.is_set(key) && !(of_pod && *key == "Dependencies"))
            .map(|(_, what)| what)
            .chain(userns)
            .collect()
    }

    fn has_user_namespace(&self) -> bool {
        let mappings = self.0.get("idMappingsOptions");
        let is_set = |key: &str| {
            mappings
                .and_then(|mappings| mappings.get(key))
                .is_some_and(|value| *value != Value::Null && *value != false)
        };
        is_set("UIDMap") || is_set("GIDMap") || is_set("AutoUserNs")
    }

    /// What made its cgroup: `systemd` or `cgroupfs`; empty where it does not say.
    #[must_use]
    pub fn cgroup_manager(&self) -> &str {
        self.text("cgroupManager")
    }

    /// The new configuration, for a podman whose cgroups `manager` makes. A parent of one manager is none for the other: podman
    /// then takes its default.
    #[must_use]
    pub fn cleaned(&self, manager: &str) -> Value {
        let other = !self.cgroup_manager().is_empty() && self.cgroup_manager() != manager;
        let cgroup = |key: &str| other && matches!(key, "cgroupManager" | "cgroupParent");
        let kept = self
            .0
            .iter()
            .filter(|(key, _)| KEPT.contains(&key.as_str()) && !cgroup(key));
        let mut cleaned: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(Value::Array(volumes)) = cleaned.get_mut("namedVolumes") {
            volumes.iter_mut().for_each(mark_anonymous);
        }
        // Beside these two words it can be a directory of the host.
        if let Some(place @ ("local" | "events_logger")) = self.0.get("healthLogDestination").and_then(Value::as_str) {
            cleaned.insert("healthLogDestination".to_owned(), place.into());
        }
        Value::Object(cleaned)
    }
}

/// A volume that got its name from podman goes with its container; podman would take it for a named one after an import.
fn mark_anonymous(volume: &mut Value) {
    let of_podman = |name: &str| name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit());
    if volume.get("volumeName").and_then(Value::as_str).is_some_and(of_podman) {
        volume["setAnonymous"] = true.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(extra: Value) -> PodmanConfig {
        let mut config = json!({"id": "aa", "name": "c1", "rootfsImageID": "ff", "staticDir": "/s"});
        for (key, value) in extra.as_object().unwrap() {
            config[key] = value.clone();
        }
        PodmanConfig::parse(config.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_podman_s_own_is_taken() {
        for other in [
            "{}",
            "[]",
            "x",
            r#"{"id":"a","name":"b","rootfsImage":"i","runtime":"runc"}"#,
        ] {
            assert_eq!(PodmanConfig::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn nothing_that_podman_would_write_to_or_unmount_survives() {
        let cleaned = config(json!({"conmonPidFile": "/etc/x", "ConmonPIDFile": "/etc/x", "pid_file": "/etc/y", "mounts": ["/srv"],
            "sdnotifySocket": "/run/z", "logPath": "/etc/log", "healthLogDestination": "/etc", "baseHostsFile": "/etc/shadow",
            "preserveFds": 3, "Name": "other", "labels": {"a": "b"}}))
        .cleaned("cgroupfs");
        assert_eq!(
            cleaned,
            json!({"id": "aa", "name": "c1", "rootfsImageID": "ff", "labels": {"a": "b"}})
        );
        let random = "0123456789abcdef".repeat(4);
        let kept = config(json!({"namedVolumes": [{"volumeName": random}, {"volumeName": "v"}]})).cleaned("cgroupfs");
        let anonymous = |at: usize| kept["namedVolumes"][at].get("setAnonymous").is_some();
        assert!(anonymous(0) && !anonymous(1));
        let kept = config(json!({"healthLogDestination": "local"})).cleaned("cgroupfs");
        assert_eq!(kept["healthLogDestination"], "local");
    }

    #[test]
    fn a_cgroup_of_the_other_manager_is_podman_s_to_choose() {
        let config = config(json!({"cgroupManager": "systemd", "cgroupParent": "machine.slice"}));
        assert_eq!(config.cleaned("systemd")["cgroupParent"], "machine.slice");
        let cleaned = config.cleaned("cgroupfs");
        assert!(cleaned.get("cgroupParent").is_none() && cleaned.get("cgroupManager").is_none());
    }

    #[test]
    fn volumes_secrets_and_networks_are_named() {
        let config = config(json!({
            "namedVolumes": [{"volumeName": "v", "dest": "/vol/", "options": ["rbind"]},
                {"volumeName": "w", "dest": "/w", "options": ["volume-opt=device=/etc"]}],
            "secrets": [{"name": "s"}], "secret_env": {"X": {"name": "t"}}, "newNetworks": {"podman": {}}}));
        let volumes = config.volumes();
        assert_eq!(
            (volumes[0].destination.as_str(), volumes[0].driver_options),
            ("/vol", false)
        );
        assert!(volumes[1].driver_options);
        assert_eq!(config.secrets(), ["s", "t"]);
        assert_eq!(config.networks(), ["podman"]);
    }

    #[test]
    fn published_ports_collide_with_sockets_of_their_address() {
        let ports = config(json!({"newPortMappings": [
            {"host_ip": "", "container_port": 80, "host_port": 8080, "range": 2, "protocol": "tcp"},
            {"host_ip": "127.0.0.1", "container_port": 53, "host_port": 53, "range": 1, "protocol": "tcp,udp"},
            {"host_port": 99999, "range": 1, "protocol": "tcp"}]}))
        .ports();
        let shown: Vec<String> = ports.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["8080-8081/tcp", "127.0.0.1:53/tcp", "127.0.0.1:53/udp"]);
        let collides = |index: usize, protocol, address: &str, port| {
            let ports: &[PublishedPort] = &ports;
            ports[index].collides(protocol, address.parse().unwrap(), port)
        };
        assert!(collides(0, "tcp", "10.0.0.1", 8081) && collides(2, "udp", "0.0.0.0", 53));
        assert!(collides(1, "tcp", "127.0.0.1", 53));
        for (index, protocol, address, port) in [
            (0, "tcp", "::", 8082),
            (0, "udp", "::", 8080),
            (1, "tcp", "127.0.0.2", 53),
        ] {
            assert!(!collides(index, protocol, address, port), "{protocol} {address} {port}");
        }
    }

    #[test]
    fn a_user_namespace_is_one_with_mappings() {
        let restorable = |mappings: Value| config(json!({"idMappingsOptions": mappings})).unrestorable().is_empty();
        assert!(restorable(
            json!({"HostUIDMapping": true, "UIDMap": null, "GIDMap": null, "AutoUserNs": false})
        ));
        for mappings in [json!({"UIDMap": [{"container_id": 0}]}), json!({"AutoUserNs": true})] {
            assert!(!restorable(mappings.clone()), "{mappings}");
        }
    }

    #[test]
    fn a_pod_s_container_may_depend_on_it() {
        assert_eq!(config(json!({"Dependencies": ["x"]})).unrestorable().len(), 1);
        assert!(
            config(json!({"Dependencies": ["x"], "pod": "p"}))
                .unrestorable()
                .is_empty()
        );
        assert!(
            config(json!({"Dependencies": null, "rootfs": ""}))
                .unrestorable()
                .is_empty()
        );
    }
}
