//! What an engine says of its container, as the manifest of an archive of ckpt.
//!
//! Invariants: what is not said stays unknown, nothing is guessed from names of files. Only text and numbers are taken, with
//! bounds; nothing of the source host's paths is acted on here (an import judges them as it judges ckpt's own).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::Error;
use super::names::{BINDS, CONFIG, DIFF, INVENTORY, NETWORK, SHM, SPEC};
use super::reader::Outline;
use crate::archive::format::{PRE_CHECKPOINT, VOLUMES};
use crate::manifest::{
    BindMount, CgroupMode, Container, Cpu, DevShm, DumpOptions, Engine, EngineName, FORMAT_VERSION, FileType,
    Filesystem, Host, Image, Manifest, Namespace, Network, Pod, Port, Producer, RootfsMode, Runtime,
};
use crate::mounts;
use crate::rewrite::spec::{self, Spec};

/// The annotation by which engines say that a container is theirs.
const MANAGER: &str = "io.container.manager";
/// Where containers have POSIX shared memory.
const DEV_SHM: &str = "/dev/shm";
/// Permissions of a volume whose own are not recorded.
const DIRECTORY_MODE: &str = "0755";
/// Elements of a list in podman's description that are taken; a container has a few.
const MAX_LIST: usize = 1000;
/// Longest line of CRIU's log that is taken, bytes.
const MAX_LINE: usize = 300;
/// Bytes of a page, on every architecture that engines checkpoint on.
const PAGE_SIZE: u64 = 4096;

/// What is read of `config.dump`: the ten keys that every engine writes, and those of podman's hundred that say something
/// about where the container was.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    id: Option<String>,
    name: Option<String>,
    #[serde(rename = "rootfsImageName")]
    image_name: Option<String>,
    #[serde(rename = "rootfsImage")]
    image_user: Option<String>,
    #[serde(rename = "rootfsImageRef")]
    image_reference: Option<String>,
    #[serde(rename = "rootfsImageID")]
    image_id: Option<String>,
    runtime: Option<String>,
    #[serde(rename = "createdTime")]
    created: Option<String>,
    #[serde(rename = "checkpointedTime")]
    checkpointed: Option<String>,
    pod: Option<String>,
    #[serde(rename = "shmSize")]
    shm_size: Option<u64>,
    #[serde(rename = "namedVolumes")]
    volumes: Option<Vec<NamedVolume>>,
    #[serde(rename = "newPortMappings")]
    ports: Option<Vec<PortMapping>>,
}

#[derive(Debug, Deserialize)]
struct NamedVolume {
    #[serde(rename = "volumeName")]
    name: String,
    dest: String,
    #[serde(default)]
    options: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct PortMapping {
    #[serde(default)]
    host_ip: String,
    host_port: u16,
    container_port: u16,
    #[serde(default)]
    range: u16,
    #[serde(default)]
    protocol: String,
}

/// `network.status` of one network.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    interfaces: BTreeMap<String, Interface>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    #[serde(default)]
    subnets: Option<Vec<Subnet>>,
    #[serde(default)]
    mac_address: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    ipnet: String,
    #[serde(default)]
    gateway: Option<String>,
}

impl Subnet {
    fn gateway(&self) -> Option<String> {
        self.gateway.clone().filter(|gateway| !gateway.is_empty())
    }
}

/// The manifest of an archive of which this is known.
///
/// # Errors
/// [`Error::Missing`] where it is no checkpoint of a container; [`Error::Json`] and the like where a document is not what
/// engines write.
pub fn describe(outline: &Outline) -> Result<Manifest, Error> {
    let documents = &outline.documents;
    let config = documents.config.as_ref().ok_or(Error::Missing { entry: CONFIG })?;
    let config: Config = serde_json::from_slice(config).map_err(|source| Error::Json { entry: CONFIG, source })?;
    let text = documents.spec.as_ref().ok_or(Error::Missing { entry: SPEC })?;
    let wrong = |_| Error::Document {
        entry: SPEC,
        problem: "it is no OCI configuration",
    };
    let parsed = Spec::parse(text).map_err(wrong)?;
    let spec = parsed.value();
    let pre_dump = !outline.has(INVENTORY);
    if pre_dump && !is_pre_dump(outline) {
        return Err(Error::Missing { entry: INVENTORY });
    }
    let engine = engine(spec);
    let mut networks = networks(documents.network.as_deref())?;
    networks.extend(address_of_crio(spec, engine));
    let volumes = volumes(&config, outline);
    let mut bind_mounts = listed_binds(documents.binds.as_deref(), spec)?;
    bind_mounts.extend(volumes.iter().map(|(volume, entry)| of_volume(volume, entry, spec)));
    Ok(Manifest {
        format: FORMAT_VERSION,
        producer: Producer {
            name: "ckpt".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        engine: Some(Engine {
            name: engine,
            pod: pod(&config, spec, engine),
            networks,
            ports: ports(&config),
        }),
        checkpointed_at: when(&config, outline),
        host: host(documents.log.as_deref()),
        runtime: runtime(config.runtime.as_deref()),
        container: container(&config, spec, engine),
        options: DumpOptions {
            pre_dump,
            ..DumpOptions::default()
        },
        namespaces: namespaces(&parsed)?,
        bind_mounts,
        filesystem: filesystem(&config, spec, outline, &volumes),
        parent: None,
    })
}

/// What podman says of the engine's side of a container, in its own documents.
///
/// # Errors
/// [`Error::Json`] where one is not what podman writes.
pub fn engine_of_podman(config: &[u8], spec: &Value, network: &[u8]) -> Result<Engine, Error> {
    let config: Config = serde_json::from_slice(config).map_err(|source| Error::Json { entry: CONFIG, source })?;
    Ok(Engine {
        name: EngineName::Podman,
        pod: pod(&config, spec, EngineName::Podman),
        networks: networks(Some(network))?,
        ports: ports(&config),
    })
}

fn is_pre_dump(outline: &Outline) -> bool {
    let directory = Some(PRE_CHECKPOINT);
    outline.entries.iter().any(|entry| entry.path.directory() == directory)
}

fn annotation<'a>(spec: &'a Value, key: &str) -> Option<&'a str> {
    let text = spec.get("annotations")?.get(key)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// podman and CRI-O put their mark on every container; containerd puts none.
fn engine(spec: &Value) -> EngineName {
    match annotation(spec, MANAGER) {
        Some("libpod") => EngineName::Podman,
        Some("cri-o") => EngineName::CriO,
        _ => EngineName::Containerd,
    }
}

fn pod(config: &Config, spec: &Value, engine: EngineName) -> Option<Pod> {
    let named = |name: &str, namespace: &str| {
        let name = annotation(spec, name)?.to_owned();
        let namespace = annotation(spec, namespace).map(str::to_owned);
        Some(Pod { name, namespace })
    };
    match engine {
        EngineName::Podman => config
            .pod
            .clone()
            .filter(|pod| !pod.is_empty())
            .map(|name| Pod { name, namespace: None }),
        EngineName::CriO => named("io.kubernetes.pod.name", "io.kubernetes.pod.namespace"),
        EngineName::Containerd => named("io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace"),
    }
}

fn networks(status: Option<&[u8]>) -> Result<Vec<Network>, Error> {
    let Some(status) = status else { return Ok(Vec::new()) };
    let networks: Option<BTreeMap<String, Status>> =
        serde_json::from_slice(status).map_err(|source| Error::Json { entry: NETWORK, source })?;
    let of = |(name, status): (String, Status)| {
        let network = move |(interface, found): (String, Interface)| Network {
            name: name.clone(),
            interface,
            gateways: found.subnets.iter().flatten().filter_map(Subnet::gateway).collect(),
            addresses: found
                .subnets
                .unwrap_or_default()
                .into_iter()
                .map(|subnet| subnet.ipnet)
                .collect(),
            mac: found.mac_address.filter(|mac| !mac.is_empty()),
        };
        status.interfaces.into_iter().map(network)
    };
    Ok(networks
        .unwrap_or_default()
        .into_iter()
        .flat_map(of)
        .take(MAX_LIST)
        .collect())
}

fn address_of_crio(spec: &Value, engine: EngineName) -> Option<Network> {
    let address = annotation(spec, "io.kubernetes.cri-o.IP.0").filter(|_| engine == EngineName::CriO)?;
    Some(Network {
        name: String::new(),
        interface: String::new(),
        addresses: vec![address.to_owned()],
        gateways: Vec::new(),
        mac: None,
    })
}

fn ports(config: &Config) -> Vec<Port> {
    let of = |mapping: &PortMapping| Port {
        host_ip: mapping.host_ip.clone(),
        host_port: mapping.host_port,
        container_port: mapping.container_port,
        count: mapping.range.max(1),
        protocol: mapping.protocol.clone(),
    };
    config.ports.iter().flatten().take(MAX_LIST).map(of).collect()
}

/// Go writes the zero time where there is none.
fn moment(text: Option<&String>) -> Option<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text?, &Rfc3339).ok()?;
    (moment.year() > 1).then_some(moment)
}

fn when(config: &Config, outline: &Outline) -> String {
    let recorded = || OffsetDateTime::from_unix_timestamp(outline.time().max(0)).ok();
    let moment = moment(config.checkpointed.as_ref()).or_else(recorded);
    moment
        .and_then(|moment| moment.to_offset(time::UtcOffset::UTC).format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// What CRIU's log says of the host, where there is one; engines say nothing of it.
fn host(log: Option<&[u8]>) -> Host {
    let log = String::from_utf8_lossy(log.unwrap_or_default());
    let after = |mark: &str| {
        let line = log
            .lines()
            .find_map(|line| line.split_once(") ")?.1.strip_prefix(mark))?;
        (line.len() <= MAX_LINE && !line.contains(char::is_control)).then(|| line.to_owned())
    };
    // "NODE Linux RELEASE #VERSION ... MACHINE", as uname has them.
    let system = after("Running on ").unwrap_or_default();
    let words: Vec<&str> = system.split(' ').collect();
    let linux = words.get(1) == Some(&"Linux") && words.len() > 3;
    let word = |word: Option<&&str>| {
        word.filter(|_| linux)
            .map(|word| (*word).to_owned())
            .unwrap_or_default()
    };
    let criu = after("Version: ").unwrap_or_default();
    Host {
        kernel: word(words.get(2)),
        arch: word(words.last()),
        cpu: Cpu {
            vendor: String::new(),
            family: 0,
            model: 0,
            name: String::new(),
            xsave_size: 0,
            flags: Vec::new(),
        },
        cgroup_mode: CgroupMode::Unknown,
        criu: criu.split(" (").next().unwrap_or_default().to_owned(),
        page_size: PAGE_SIZE,
    }
}

/// Engines name a runtime by a name, a path, or a shim (`io.containerd.runc.v2`).
fn runtime(text: Option<&str>) -> Runtime {
    let text = text.unwrap_or_default();
    let base = text.rsplit('/').next().unwrap_or(text);
    let name = match base {
        "" | "io.containerd.runc.v1" | "io.containerd.runc.v2" => "runc",
        other => other,
    };
    Runtime {
        name: name.to_owned(),
        version: String::new(),
    }
}

fn container(config: &Config, spec: &Value, engine: EngineName) -> Container {
    let id = config.id.clone().unwrap_or_default();
    let annotated = match engine {
        EngineName::Podman => None,
        EngineName::CriO => name_of_crio(spec),
        EngineName::Containerd => annotation(spec, "io.kubernetes.cri.container-name").map(str::to_owned),
    };
    let named = annotated
        .or_else(|| config.name.clone())
        .filter(|name| !name.is_empty());
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let created = annotation(spec, "io.kubernetes.cri-o.Created").map(str::to_owned);
    Container {
        name: named.unwrap_or_else(|| id.clone()),
        id,
        bundle: String::new(),
        rootfs: text("/root/path").unwrap_or_default(),
        hostname: text("/hostname").filter(|name| !name.is_empty()),
        image: image(config),
        terminal: spec
            .pointer("/process/terminal")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        pid: 0,
        created: moment(config.created.as_ref().or(created.as_ref())).and_then(|moment| moment.format(&Rfc3339).ok()),
    }
}

/// CRI-O keeps the names that the kubelet gave as JSON in an annotation.
fn name_of_crio(spec: &Value) -> Option<String> {
    let metadata: Value = serde_json::from_str(annotation(spec, "io.kubernetes.cri-o.Metadata")?).ok()?;
    metadata.get("name")?.as_str().map(str::to_owned)
}

fn image(config: &Config) -> Option<Image> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let digest = |text: String| match text.rsplit_once("sha256:") {
        Some((_, hex)) => Some(format!("sha256:{hex}")),
        None if text.len() == 64 => Some(format!("sha256:{text}")),
        None => None,
    };
    Some(Image {
        name: filled(&config.image_name).or_else(|| filled(&config.image_user))?,
        digest: filled(&config.image_reference)
            .or_else(|| filled(&config.image_id))
            .and_then(digest),
    })
}

fn namespaces(spec: &Spec) -> Result<Vec<Namespace>, Error> {
    let wrong = |_| Error::Document {
        entry: SPEC,
        problem: "its namespaces are not what the runtime specification says",
    };
    let all = spec::namespaces::read(spec.value()).map_err(wrong)?;
    let of = |namespace: spec::namespaces::Namespace| Namespace {
        kind: namespace.kind,
        path: namespace.path,
    };
    Ok(all.into_iter().map(of).collect())
}

/// The bind mounts that CRI-O lists, with what is known of their sources. Options are those of the configuration.
fn listed_binds(list: Option<&[u8]>, spec: &Value) -> Result<Vec<BindMount>, Error> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let list = mounts::bind::from_json(list).map_err(|source| match source {
        mounts::Error::Json { source } => Error::Json { entry: BINDS, source },
        source => Error::Binds { source },
    })?;
    let of = |mount: mounts::bind::External| BindMount {
        options: options_of(spec, &mount.destination),
        destination: mount.destination,
        source: mount.source,
        file_type: mount.file_type,
        permissions: format!("{:04o}", mount.permissions),
        entry: None,
    };
    Ok(list.into_iter().map(of).collect())
}

/// The mount of the configuration at a destination.
fn mount_at<'a>(spec: &'a Value, destination: &str) -> Option<&'a Value> {
    let at = |mount: &&Value| mount.get("destination").and_then(Value::as_str) == Some(destination);
    spec.get("mounts")?.as_array()?.iter().find(at)
}

fn options_of(spec: &Value, destination: &str) -> Vec<String> {
    let options = mount_at(spec, destination).and_then(|mount| mount.get("options")?.as_array());
    let text = |option: &Value| option.as_str().map(str::to_owned);
    options.into_iter().flatten().filter_map(text).take(MAX_LIST).collect()
}

/// The named volumes whose content is in the archive, with its entry.
fn volumes<'a>(config: &'a Config, outline: &Outline) -> Vec<(&'a NamedVolume, String)> {
    let entry = |volume: &'a NamedVolume| {
        let entry = format!("{VOLUMES}/{}.tar", volume.name);
        outline.has(&entry).then_some((volume, entry))
    };
    config
        .volumes
        .iter()
        .flatten()
        .take(MAX_LIST)
        .filter_map(entry)
        .collect()
}

fn of_volume(volume: &NamedVolume, entry: &str, spec: &Value) -> BindMount {
    let source = mount_at(spec, &volume.dest).and_then(|mount| mount.get("source")?.as_str());
    BindMount {
        destination: volume.dest.clone(),
        source: source.unwrap_or_default().to_owned(),
        options: volume.options.clone().unwrap_or_default(),
        file_type: FileType::Directory,
        permissions: DIRECTORY_MODE.to_owned(),
        entry: Some(entry.to_owned()),
    }
}

fn filesystem(config: &Config, spec: &Value, outline: &Outline, volumes: &[(&NamedVolume, String)]) -> Filesystem {
    let devshm = (outline.has(SHM) && mount_at(spec, DEV_SHM).is_some()).then(|| DevShm {
        entry: SHM.to_owned(),
        options: ["nosuid", "nodev", "noexec", "mode=1777"]
            .into_iter()
            .map(str::to_owned)
            .chain(
                config
                    .shm_size
                    .filter(|size| *size > 0)
                    .map(|size| format!("size={size}")),
            )
            .collect(),
    });
    Filesystem {
        rootfs: RootfsMode::Diff,
        base: None,
        entry: outline.has(DIFF).then(|| DIFF.to_owned()),
        devshm,
        volumes: volumes
            .iter()
            .map(|(volume, entry)| (volume.name.clone(), entry.clone()))
            .collect(),
    }
}
