//! Checkpoints as podman, CRI-O and containerd write them, made of the real CRIU images in `fixtures/dump-counter`: their
//! entries, their order, their documents and annotations.
#![allow(dead_code, reason = "every test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// When the checkpoint was taken: 2023-11-14 22:13:20 UTC.
pub const MTIME: u64 = 1_700_000_000;
/// The container's identifier.
pub const ID: &str = "3f1c0de5a7b2943c8d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c";

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Podman,
    CriO,
    Containerd,
}

/// All of them.
pub const ENGINES: [Engine; 3] = [Engine::Podman, Engine::CriO, Engine::Containerd];

impl Engine {
    /// As ckpt names it for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::CriO => "CRI-O",
            Self::Containerd => "containerd",
        }
    }

    /// As `--to` takes it.
    pub fn form(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::CriO => "cri-o",
            Self::Containerd => "containerd",
        }
    }
}

/// One member of a tar: its header and its content.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub kind: u8,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
}

impl Member {
    pub fn file(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            kind: b'0',
            link: Vec::new(),
            content: content.to_vec(),
        }
    }

    pub fn directory(name: &str) -> Self {
        Self {
            kind: b'5',
            ..Self::file(name, b"")
        }
    }

    pub fn link(name: &str, kind: u8, target: &str) -> Self {
        Self {
            kind,
            link: target.into(),
            ..Self::file(name, b"")
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut block = [0; 512];
        block[..self.name.len()].copy_from_slice(&self.name);
        block[100..108].copy_from_slice(b"0000600\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", self.content.len()).as_bytes());
        block[136..148].copy_from_slice(format!("{MTIME:011o}\0").as_bytes());
        block[156] = self.kind;
        block[157..157 + self.link.len()].copy_from_slice(&self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A tar of these.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One zstd frame, as podman makes it.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A checkpoint in the making.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub members: Vec<Member>,
}

impl Checkpoint {
    /// As an engine writes it.
    pub fn of(engine: Engine) -> Self {
        let mut members = images();
        members.push(Member::file("spec.dump", spec(engine).to_string().as_bytes()));
        members.push(Member::file("config.dump", config(engine).to_string().as_bytes()));
        let changes = tar(&[
            Member::file("added", b"added\n"),
            Member::file("etc/changed", b"changed\n"),
        ]);
        match engine {
            Engine::Podman => {
                members.insert(0, Member::directory("artifacts/"));
                let status = json!({"podman": {"interfaces": {"eth0": {
                    "subnets": [{"ipnet": "10.88.0.2/16", "gateway": "10.88.0.1"}], "mac_address": "16:14:13:68:90:e3"
                }}}});
                members.push(Member::file("network.status", status.to_string().as_bytes()));
                members.push(Member::file("ctr.log", b"2023-11-14T22:13:20Z stdout F 1\n"));
                members.push(Member::file(
                    "devshm-checkpoint.tar",
                    &tar(&[Member::file("f", b"shm\n")]),
                ));
                members.push(Member::file("rootfs-diff.tar", &changes));
                members.push(Member::file("deleted.files", br#"["/bin/gone"]"#));
                members.push(Member::file("volumes/data.tar", &tar(&[Member::file("f", b"vol\n")])));
            }
            Engine::CriO => {
                let binds =
                    json!([{"source": "/srv/d", "destination": "/d", "file_type": "directory", "permissions": 493}]);
                members.push(Member::file("bind.mounts", binds.to_string().as_bytes()));
                members.push(Member::file("rootfs-diff.tar", &changes));
                members.push(Member::file("deleted.files", br#"["/bin/gone"]"#));
                members.push(Member::file("dump.log", &fixture("images/dump.log")));
                members.push(Member::file("io.kubernetes.cri-o.LogPath", b"1\n"));
            }
            Engine::Containerd => {
                let layer = tar(&[
                    Member::file("added", b"added\n"),
                    Member::file("etc/changed", b"changed\n"),
                    Member::file("bin/.wh.gone", b""),
                    Member::directory("var/cache/"),
                    Member::file("var/cache/.wh..wh..opq", b""),
                    Member::file("var/cache/new", b"new\n"),
                ]);
                members.push(Member::file("rootfs-diff.tar", &gzip(&layer)));
                members.push(Member::file("dump.log", &fixture("images/dump.log")));
                members.push(Member::file("container.log", b"1\n"));
                members.push(Member::file("status", b"{}"));
                members.push(Member::file("status.dump", b"{}"));
            }
        }
        members.push(Member::file("stats-dump", &fixture("images/stats-dump")));
        Self { members }
    }

    /// With this entry instead of that of its name, or at the end.
    pub fn with(mut self, member: Member) -> Self {
        match self.members.iter().position(|other| other.name == member.name) {
            Some(at) => self.members[at] = member,
            None => self.members.push(member),
        }
        self
    }

    /// With a file.
    pub fn with_file(self, name: &str, content: &[u8]) -> Self {
        self.with(Member::file(name, content))
    }

    /// Without an entry.
    pub fn without(mut self, name: &str) -> Self {
        self.members.retain(|member| member.name != name.as_bytes());
        self
    }

    /// With one more entry, whatever there is.
    pub fn and(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// With one bit of an entry changed.
    pub fn with_flipped_bit(mut self, name: &str, at: usize) -> Self {
        let member = self
            .members
            .iter_mut()
            .find(|member| member.name == name.as_bytes())
            .unwrap();
        member.content[at] ^= 1;
        self
    }

    /// With a document changed.
    pub fn with_changed(self, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_slice(&self.content(name)).unwrap();
        change(&mut value);
        self.with_file(name, value.to_string().as_bytes())
    }

    /// The content of an entry.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let member = self.members.iter().find(|member| member.name == name.as_bytes());
        member.unwrap().content.clone()
    }

    /// Names of its files, in their order.
    pub fn names(&self) -> Vec<String> {
        let files = self.members.iter().filter(|member| member.kind == b'0');
        files
            .map(|member| String::from_utf8(member.name.clone()).unwrap())
            .collect()
    }

    /// The plain tar.
    pub fn tar(&self) -> Vec<u8> {
        tar(&self.members)
    }
}

/// A file of the fixture.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dump-counter")
        .join(name);
    std::fs::read(path).unwrap()
}

fn images() -> Vec<Member> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dump-counter/images");
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !matches!(name.as_str(), "dump.log" | "stats-dump"))
        .collect();
    names.sort();
    let files = names
        .iter()
        .map(|name| Member::file(&format!("checkpoint/{name}"), &fixture(&format!("images/{name}"))));
    [Member::directory("checkpoint/")].into_iter().chain(files).collect()
}

fn spec(engine: Engine) -> Value {
    let mut spec: Value = serde_json::from_slice(&fixture("bundle/config.json")).unwrap();
    spec["root"]["path"] = json!("/var/lib/containers/storage/overlay/0a9a/merged");
    spec["hostname"] = json!("counter");
    let bind = |destination: &str, source: &str| json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate"]});
    let mut mounts = spec["mounts"].as_array().unwrap().clone();
    mounts.retain(|mount| mount["type"] != "bind" && mount["destination"] != "/dev/shm");
    mounts.push(bind("/etc/hosts", "/run/engine/hosts"));
    mounts.push(bind("/etc/resolv.conf", "/run/engine/resolv.conf"));
    mounts.push(bind("/dev/shm", "/run/engine/shm"));
    spec["annotations"] = match engine {
        Engine::Podman => {
            mounts.push(bind("/vol", "/var/lib/containers/storage/volumes/data/_data"));
            mounts.push(bind("/run/.containerenv", "/run/engine/.containerenv"));
            json!({"io.container.manager": "libpod", "org.opencontainers.image.stopSignal": "15"})
        }
        Engine::CriO => {
            mounts.push(bind("/d", "/srv/d"));
            json!({
                "io.container.manager": "cri-o", "io.kubernetes.cri-o.Metadata": "{\"name\":\"counter\",\"attempt\":1}",
                "io.kubernetes.cri-o.IP.0": "10.85.0.7", "io.kubernetes.cri-o.Created": "2023-11-14T22:13:00.5Z",
                "io.kubernetes.pod.name": "counters", "io.kubernetes.pod.namespace": "default",
            })
        }
        Engine::Containerd => json!({
            "io.kubernetes.cri.container-name": "counter", "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-name": "counters", "io.kubernetes.cri.sandbox-namespace": "default",
        }),
    };
    spec["mounts"] = json!(mounts);
    spec["linux"]["namespaces"] = match engine {
        Engine::Podman => json!([{"type": "pid"}, {"type": "network", "path": "/run/netns/netns-1"}, {"type": "ipc"},
            {"type": "uts"}, {"type": "mount"}]),
        _ => json!([{"type": "pid"}, {"type": "network", "path": "/var/run/netns/1"},
            {"type": "ipc", "path": "/var/run/ipcns/1"}, {"type": "uts", "path": "/var/run/utsns/1"}, {"type": "mount"}]),
    };
    spec
}

fn config(engine: Engine) -> Value {
    let mut config = json!({
        "id": ID, "name": "counter", "runtime": "runc", "createdTime": "2023-11-14T22:13:00Z",
        "rootfsImageName": "registry.example/counter:1",
    });
    let more = match engine {
        Engine::Podman => json!({
            "rootfsImageID": "be02b0367342956779b815e4f06a0ccc9e37564cd280e6948b205c192dd43217", "shmSize": 65_536_000,
            "namedVolumes": [{"volumeName": "data", "dest": "/vol", "options": ["rw", "nosuid"]}],
            "newPortMappings": [{"host_ip": "", "container_port": 80, "host_port": 8080, "range": 2, "protocol": "tcp"}],
            "newNetworks": {"podman": {"interface_name": "eth0"}}, "logDriver": "k8s-file", "lockID": 0,
        }),
        Engine::CriO | Engine::Containerd => json!({
            "rootfsImage": "registry.example/counter:1",
            "rootfsImageRef": "registry.example/counter@sha256:be02b0367342956779b815e4f06a0ccc9e37564cd280e6948b205c192dd43217",
            "checkpointedTime": "2023-11-14T22:13:21Z", "restoredTime": "0001-01-01T00:00:00Z", "restored": false,
        }),
    };
    if engine == Engine::Containerd {
        config["runtime"] = json!("io.containerd.runc.v2");
    }
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}
