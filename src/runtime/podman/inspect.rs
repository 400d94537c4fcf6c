//! What `podman container inspect` says of a container.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{Error, NamedVolume, Target};
use super::PROGRAM;

/// A container as podman describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    id: String,
    pub(super) name: String,
    #[serde(default)]
    created: Option<String>,
    state: State,
    #[serde(rename = "OCIConfigPath", default)]
    config: PathBuf,
    #[serde(rename = "OCIRuntime")]
    pub(super) oci_runtime: String,
    #[serde(default)]
    pub(super) image_name: String,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    rootfs: String,
    #[serde(default)]
    mounts: Vec<Mounted>,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    is_infra: bool,
    #[serde(default)]
    network_settings: Networking,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    log_config: LogConfig,
    /// There where it has a user namespace.
    #[serde(rename = "IDMappings")]
    id_mappings: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    #[serde(rename = "Type")]
    driver: String,
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    conmon_pid: i32,
    #[serde(default)]
    restored: bool,
}

/// A container that podman has made and that has never run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverRun {
    /// Its identifier.
    pub id: String,
    /// That of its image.
    pub image: String,
    /// When it was made, as podman writes it (RFC 3339).
    pub created: Option<String>,
    /// The names of its volumes.
    pub volumes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    name: String,
    source: PathBuf,
    destination: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networking {
    networks: Option<Map<String, Value>>,
}

impl Inspected {
    /// Reads what was printed for the container `id`.
    pub(super) fn parse(id: &str, text: &[u8]) -> Result<Self, Error> {
        let json = |source| Error::Json {
            what: "podman's description",
            id: id.to_owned(),
            source,
        };
        let mut all: Vec<Self> = serde_json::from_slice(text).map_err(json)?;
        all.pop().ok_or_else(|| Error::NotFound {
            id: id.to_owned(),
            runtimes: PROGRAM.to_owned(),
        })
    }

    /// Its directory in podman's storage, which is the OCI runtime's bundle.
    pub(super) fn directory(&self) -> Result<PathBuf, Error> {
        let directory = self.config.parent().filter(|path| path.is_absolute());
        directory.map(Path::to_owned).ok_or_else(|| Error::NotRunning {
            id: self.name.clone(),
            status: self.state.status.clone(),
        })
    }

    /// As every runtime describes a container.
    pub(super) fn target(self) -> Result<Target, Error> {
        let bundle = self.directory()?;
        let path = &self.config;
        let text = fs::read(path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        let spec: Value = serde_json::from_slice(&text).map_err(|source| Error::Json {
            what: "config.json",
            id: self.id.clone(),
            source,
        })?;
        let root = spec.pointer("/root/path").and_then(Value::as_str).unwrap_or("rootfs");
        Ok(Target {
            rootfs: bundle.join(root),
            id: self.id,
            pid: self.state.pid,
            status: self.state.status,
            bundle,
            created: self.created,
            spec,
            lxc: None,
        })
    }

    /// podman finds out what it cannot export when the container is gone already.
    pub(super) fn check_exportable(&self) -> Result<(), Error> {
        let refuse = |why: &str| {
            Err(Error::Refused {
                runtime: PROGRAM,
                id: self.name.clone(),
                why: why.to_owned(),
            })
        };
        if self.is_infra {
            return refuse("it holds the namespaces of a pod");
        }
        if !self.rootfs.is_empty() {
            return refuse("it was made of a directory (--rootfs), not of an image");
        }
        if self.host_config.id_mappings.is_some() {
            return refuse(
                "it is in a user namespace of its own (--userns, --uidmap), in which podman cannot restore a container with \
                 its network; run it without, so that it can be moved",
            );
        }
        if self.state.status == "paused" {
            return refuse("it is paused, and podman checkpoints only what runs: `podman unpause` lets it run");
        }
        match (self.pod.is_empty(), self.dependencies.len()) {
            (_, 0) | (false, 1) => Ok(()),
            _ => refuse("it needs other containers, whose namespaces or volumes it uses"),
        }
    }

    /// What is known of it where it has never run: podman made it, and nothing of it was started or restored.
    pub(super) fn never_run(self) -> Option<NeverRun> {
        let idle = matches!(self.state.status.as_str(), "created" | "configured" | "initialized");
        let volumes = self.volumes().into_iter().map(|volume| volume.name).collect();
        (idle && !self.state.restored && self.state.pid == 0).then_some(NeverRun {
            id: self.id,
            image: self.image,
            created: self.created,
            volumes,
        })
    }

    /// The program of the OCI runtime, as its monitor was told; that of a container that ckpt has restored was told of a
    /// stand-in that is gone.
    pub(super) fn monitored_program(&self) -> Option<PathBuf> {
        let line = fs::read(format!("/proc/{}/cmdline", self.state.conmon_pid)).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        words.find(|word| *word == b"-r")?;
        let program = PathBuf::from(std::ffi::OsStr::from_bytes(words.next()?));
        (program.is_absolute() && program.is_file()).then_some(program)
    }

    /// The file that its log is in, where it is in one. podman imports a file of these drivers alone.
    pub(super) fn log(&self) -> Option<PathBuf> {
        let LogConfig { driver, path } = &self.host_config.log_config;
        let in_file = matches!(driver.as_str(), "k8s-file" | "json-file") && path.is_file();
        in_file.then(|| path.clone())
    }

    /// Its named and anonymous volumes.
    pub(super) fn volumes(&self) -> Vec<NamedVolume> {
        let volumes = self.mounts.iter().filter(|mount| mount.kind == "volume");
        volumes
            .map(|mount| NamedVolume {
                name: mount.name.clone(),
                source: mount.source.clone(),
                destination: mount.destination.clone(),
            })
            .collect()
    }

    /// `network.status` as podman writes it: the addresses that a restored container gets again.
    ///
    /// podman writes that file when the container is gone; the interfaces' names are in its configuration only, so they
    /// are added by whoever has read that.
    pub(super) fn network_status(&self) -> Value {
        let Some(networks) = &self.network_settings.networks else {
            return Value::Null;
        };
        let status: Map<String, Value> = networks
            .iter()
            .filter_map(|(name, network)| Some((name.clone(), interface(network)?)))
            .collect();
        if status.is_empty() {
            Value::Null
        } else {
            Value::Object(status)
        }
    }
}

/// One interface of a container in a network.
fn interface(network: &Value) -> Option<Value> {
    let text = |key: &str| network[key].as_str().filter(|text| !text.is_empty());
    let subnet = |address: &str, length: &str, gateway: &str| {
        let mut subnet = json!({ "ipnet": format!("{}/{}", text(address)?, network[length].as_u64()?) });
        if let Some(gateway) = text(gateway) {
            subnet["gateway"] = json!(gateway);
        }
        Some(subnet)
    };
    let subnets: Vec<Value> = [
        subnet("IPAddress", "IPPrefixLen", "Gateway"),
        subnet("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"),
    ]
    .into_iter()
    .flatten()
    .collect();
    Some(json!({ "subnets": subnets, "mac_address": text("MacAddress")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(extra: Value) -> Inspected {
        let mut container = json!({"Id": "aa", "Name": "c1", "State": {"Status": "running", "Pid": 7, "ConmonPid": 0},
            "OCIConfigPath": "/s/aa/userdata/config.json", "OCIRuntime": "runc"});
        for (key, value) in extra.as_object().unwrap() {
            container[key] = value.clone();
        }
        Inspected::parse("c1", json!([container]).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn volumes_are_the_named_ones() {
        let found = parsed(json!({"Mounts": [
            {"Type": "bind", "Source": "/srv", "Destination": "/srv"},
            {"Type": "volume", "Name": "v", "Source": "/s/v/_data", "Destination": "/vol"}]}));
        let volumes = found.volumes();
        assert_eq!(
            volumes
                .iter()
                .map(|v| (v.name.as_str(), v.destination.as_str()))
                .collect::<Vec<_>>(),
            [("v", "/vol")]
        );
    }

    #[test]
    fn addresses_of_all_networks() {
        let found = parsed(
            json!({"NetworkSettings": {"Networks": {"podman": {"IPAddress": "10.88.0.2", "IPPrefixLen": 16,
            "Gateway": "10.88.0.1", "MacAddress": "3a:74:68:1c:da:48", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0}}}}),
        );
        let subnet = json!({"ipnet": "10.88.0.2/16", "gateway": "10.88.0.1"});
        assert_eq!(
            found.network_status(),
            json!({"podman": {"subnets": [subnet], "mac_address": "3a:74:68:1c:da:48"}})
        );
        assert_eq!(
            parsed(json!({"NetworkSettings": {"Networks": {}}})).network_status(),
            Value::Null
        );
        assert_eq!(parsed(json!({})).network_status(), Value::Null);
    }

    #[test]
    fn what_runs_or_ran_is_told_from_what_never_did() {
        let of = |status: &str, restored: bool, pid: i32| {
            parsed(json!({"State": {"Status": status, "Restored": restored, "Pid": pid}})).never_run()
        };
        assert_eq!(of("created", false, 0).map(|found| found.id).as_deref(), Some("aa"));
        for (status, restored, pid) in [
            ("running", false, 7),
            ("exited", false, 0),
            ("created", true, 0),
            ("created", false, 7),
        ] {
            assert_eq!(of(status, restored, pid), None, "{status}");
        }
    }

    #[test]
    fn what_podman_would_refuse_too_late_is_refused() {
        for extra in [
            json!({}),
            json!({"Pod": "p", "Dependencies": ["infra"]}),
            json!({"HostConfig": {"IDMappings": null}}),
        ] {
            parsed(extra).check_exportable().unwrap();
        }
        for extra in [
            json!({"IsInfra": true}),
            json!({"Rootfs": "/srv/root"}),
            json!({"Dependencies": ["other"]}),
            json!({"HostConfig": {"IDMappings": {"UidMap": ["0:100000:65536"]}}}),
            json!({"Pod": "p", "Dependencies": ["infra", "other"]}),
        ] {
            assert!(parsed(extra.clone()).check_exportable().is_err(), "{extra}");
        }
    }
}
