//! An archive in another engine's form: its entries, its documents, its compression.
//!
//! Invariants: entries that the form has keep their bytes; documents are kept as they are where the engine stays the same, and
//! changed only where another one reads other keys. Whatever the form cannot hold is named, entry by entry.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use flate2::GzBuilder;
use serde_json::{Value, json};

use super::error::Error;
use super::layer;
use super::material::{Item, Material, Spool, path};
use super::names::{BINDS, CONFIG, DELETED, DIFF, NETWORK, SHM, SPEC};
use super::seal::Left;
use super::shape::{config_dump, podman_config};
use crate::archive::format::{ARTIFACTS, CHECKPOINT, PRE_CHECKPOINT, VOLUMES};
use crate::archive::{ArchivePath, Codec, Digest, Limits, Sink};
use crate::event::{Event, Events, Phase};
use crate::manifest::{EngineName, Manifest, RootfsMode};
use crate::tree::{self, Kind, Meta, Time, TreePath};

/// Whole file systems, which only archives of ckpt hold.
const ROOTFS: &str = "rootfs.tar";
/// ckpt's record of the cgroups.
const CGROUPS: &str = "cgroup.json";
/// The log of the container, under each engine's name for it.
const LOGS: [(EngineName, &str); 3] = [
    (EngineName::Podman, "ctr.log"),
    (EngineName::CriO, "io.kubernetes.cri-o.LogPath"),
    (EngineName::Containerd, "container.log"),
];
/// Modes in the tar.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// podman's level of zstd, and what gzip takes by itself.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;
/// Where a manifest's fields go in an OCI configuration.
const ANNOTATIONS: &str = "annotations";

/// An archive that was made.
#[derive(Debug)]
pub struct Converted {
    /// Where it is; none for a pipe.
    pub path: Option<PathBuf>,
    /// SHA-256 of its `SHA256SUMS`, where it is ckpt's.
    pub identity: Option<Digest>,
    /// Number of its entries.
    pub entries: usize,
    /// Its length, bytes.
    pub bytes: u64,
    /// What could not be kept, or not as it was.
    pub left: Vec<Left>,
}

/// Writes an archive of another engine.
///
/// # Errors
/// [`Error::Form`] where the form cannot hold the container at all; where content cannot be read or the archive not written.
pub fn convert(
    mut material: Material,
    engine: EngineName,
    codec: Codec,
    sink: Sink,
    spool: &std::path::Path,
    events: &dyn Events,
) -> Result<Converted, Error> {
    refuse(&material, engine, codec)?;
    let mut left: Vec<Left> = Left::signature(&material).into_iter().collect();
    documents(&mut material, engine, &mut left)?;
    rename_log(&mut material, engine)?;
    drop_what_has_no_place(&mut material, engine, &mut left);
    if engine == EngineName::Containerd {
        make_layer(&mut material, spool)?;
    }
    events.emit(Event::Phase {
        phase: Phase::Memory,
        total: Some(material.items().iter().map(|item| item.size).sum()),
    });
    let (sink, bytes) = write(&material, codec, sink, events)?;
    events.emit(Event::Phase {
        phase: Phase::Commit,
        total: None,
    });
    Ok(Converted {
        path: sink.commit_plain()?,
        identity: None,
        entries: material.items().len(),
        bytes,
        left,
    })
}

/// What no form of an engine can hold.
fn refuse(material: &Material, engine: EngineName, codec: Codec) -> Result<(), Error> {
    let form = engine.as_str();
    let refused = |why: &str| {
        let why = why.to_owned();
        Err(Error::Form { form, why })
    };
    if engine != EngineName::Podman && codec != Codec::None {
        return refused("CRI-O and containerd read plain tars only: --compress none");
    }
    if material.item(ROOTFS).is_some() || material.manifest.filesystem.rootfs == RootfsMode::Full {
        return refused("it brings the whole root file system, and engines take that from an image");
    }
    if material.manifest.parent.is_some() {
        return refused("its images are incremental to those of another archive");
    }
    if material.manifest.options.page_server {
        return refused("its memory went to a page server");
    }
    if engine != EngineName::Podman && material.manifest.options.pre_dump {
        return refused("it is a pre-checkpoint, which only podman has");
    }
    Ok(())
}

/// Brings the documents into the engine's shape.
fn documents(material: &mut Material, engine: EngineName, left: &mut Vec<Left>) -> Result<(), Error> {
    let was = material.manifest.engine.as_ref().map(|engine| engine.name);
    if was == Some(engine) {
        return Ok(());
    }
    let text = material.text(SPEC)?.ok_or(Error::Missing { entry: SPEC })?;
    let json = |source| Error::Json { entry: SPEC, source };
    let mut spec: Value = serde_json::from_slice(&text).map_err(json)?;
    annotate(&mut spec, &material.manifest, engine);
    material.replace(Item::new(path(SPEC)?, serde_json::to_vec(&spec).map_err(json)?));
    let config = match engine {
        EngineName::Podman => podman_config(&material.manifest),
        EngineName::CriO | EngineName::Containerd => config_dump(&material.manifest),
    };
    let config = serde_json::to_vec_pretty(&config).map_err(|source| Error::Json { entry: CONFIG, source })?;
    if was == Some(EngineName::Podman) {
        note(left, CONFIG, "reduced to the ten keys that this engine knows");
    }
    if engine == EngineName::Podman {
        note(
            left,
            CONFIG,
            "has the ten keys that all engines write, and podman's defaults for the others",
        );
        if material.item(NETWORK).is_none() {
            material.replace(Item::new(path(NETWORK)?, b"null".to_vec()));
        }
    }
    material.replace(Item::new(path(CONFIG)?, config));
    if engine == EngineName::CriO && material.item(BINDS).is_none() {
        let known = crate::mounts::bind::to_json(&material.manifest.bind_mounts);
        let known = known.map_err(|source| Error::Binds { source })?;
        material.replace(Item::new(path(BINDS)?, known));
        if material.manifest.bind_mounts.is_empty() && has_binds(&spec) {
            note(
                left,
                BINDS,
                "is empty: whether the sources of bind mounts are files or directories is not known",
            );
        }
    }
    if engine == EngineName::Containerd {
        note(
            left,
            "status.dump",
            "is not there: what containerd knew of the container's state nobody else records",
        );
    }
    Ok(())
}

fn has_binds(spec: &Value) -> bool {
    let mounts = spec.get("mounts").and_then(Value::as_array);
    mounts.is_some_and(|mounts| {
        mounts
            .iter()
            .any(|mount| mount.get("type") == Some(&Value::from("bind")))
    })
}

/// Says whose container it is, in the annotations by which engines tell.
fn annotate(spec: &mut Value, manifest: &Manifest, engine: EngineName) {
    let Some(spec) = spec.as_object_mut() else { return };
    let annotations = spec.entry(ANNOTATIONS).or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    let Some(annotations) = annotations.as_object_mut() else {
        return;
    };
    let name = manifest.container.name.clone();
    let pod = manifest.engine.as_ref().and_then(|engine| engine.pod.clone());
    let (pod, namespace) = pod.map_or((None, None), |pod| (Some(pod.name), pod.namespace));
    let address = manifest.engine.iter().flat_map(|engine| &engine.networks);
    let address = address.flat_map(|network| &network.addresses).next();
    let address = address.map(|address| address.split('/').next().unwrap_or(address).to_owned());
    annotations.shift_remove("io.container.manager");
    let added = match engine {
        EngineName::Podman => vec![("io.container.manager", Some("libpod".to_owned()))],
        EngineName::CriO => vec![
            ("io.container.manager", Some("cri-o".to_owned())),
            (
                "io.kubernetes.cri-o.Metadata",
                Some(json!({ "name": name }).to_string()),
            ),
            ("io.kubernetes.cri-o.Created", manifest.container.created.clone()),
            ("io.kubernetes.cri-o.IP.0", address),
            ("io.kubernetes.pod.name", pod),
            ("io.kubernetes.pod.namespace", namespace),
        ],
        EngineName::Containerd => vec![
            ("io.kubernetes.cri.container-name", Some(name)),
            ("io.kubernetes.cri.sandbox-name", pod),
            ("io.kubernetes.cri.sandbox-namespace", namespace),
        ],
    };
    for (key, value) in added {
        if let Some(value) = value {
            annotations.insert(key.to_owned(), Value::from(value));
        }
    }
}

/// Gives the log of the container the engine's name for it.
fn rename_log(material: &mut Material, engine: EngineName) -> Result<(), Error> {
    let Some((_, wanted)) = LOGS.iter().find(|(name, _)| *name == engine) else {
        return Ok(());
    };
    let found = LOGS.iter().find(|(_, name)| material.item(name).is_some());
    if let Some((_, name)) = found.filter(|(_, name)| name != wanted) {
        material.rename(name, path(wanted)?);
    }
    Ok(())
}

/// Leaves out the entries that the engine does not have.
fn drop_what_has_no_place(material: &mut Material, engine: EngineName, left: &mut Vec<Left>) {
    let names: Vec<ArchivePath> = material.items().iter().map(|item| item.path.clone()).collect();
    for name in names {
        if let Some(why) = no_place(&name, engine) {
            note(left, name.as_str(), why);
            material.remove(&name);
        }
    }
}

fn no_place(name: &ArchivePath, engine: EngineName) -> Option<&'static str> {
    use EngineName::{Containerd, CriO, Podman};
    const LOST: &str = "left out, with its content: the engine has no such entry";
    const NOT_NEEDED: &str = "left out: the engine has no such entry";
    match (name.directory(), name.as_str()) {
        (Some(CHECKPOINT), _) | (_, SPEC | CONFIG | DIFF | "stats-dump") => None,
        // Becomes a part of the layer.
        (_, DELETED) => None,
        (Some(PRE_CHECKPOINT | VOLUMES | ARTIFACTS), _) | (_, SHM) => (engine != Podman).then_some(LOST),
        (_, NETWORK) => (engine != Podman).then_some(NOT_NEEDED),
        (_, BINDS) => (engine != CriO).then_some(NOT_NEEDED),
        (_, "dump.log") => (engine == Podman).then_some(NOT_NEEDED),
        (_, "status" | "status.dump") => (engine != Containerd).then_some(NOT_NEEDED),
        (_, CGROUPS) => Some("left out: no engine records cgroups, and limits that were changed later are lost"),
        (_, other) => {
            let log = LOGS.iter().any(|(name, log)| *name == engine && *log == other);
            (!log).then_some(LOST)
        }
    }
}

fn note(left: &mut Vec<Left>, entry: &str, why: &'static str) {
    let entry = entry.to_owned();
    left.push(Left { entry, why });
}

/// Makes changes and deleted paths the layer that containerd has.
fn make_layer(material: &mut Material, directory: &std::path::Path) -> Result<(), Error> {
    let deleted = match material.text(DELETED)? {
        Some(list) => {
            let limits = tree::deleted::Limits::default();
            tree::deleted::parse(&list, &limits).map_err(|source| Error::Deleted { source })?
        }
        None => Vec::new(),
    };
    let spool = Spool::new(directory)?;
    let mut gzip = GzBuilder::new().write(spool, flate2::Compression::new(GZIP_LEVEL));
    let limits = tree::Limits {
        bytes: Limits::default().content,
        ..tree::Limits::default()
    };
    {
        let changes: Box<dyn Read> = match material.item(DIFF) {
            Some(item) => material.open(item)?,
            None => Box::new(&tree::END[..]),
        };
        layer::to_layer(changes, &deleted, &mut gzip, limits)?;
    }
    let spool = gzip.finish().map_err(|source| Error::Spool { source })?;
    material.replace(Item::of_file(path(DIFF)?, spool.into_file()?)?);
    material.remove(&path(DELETED)?);
    Ok(())
}

/// Writes the tar, and compresses it as a whole; returns the sink and the length of the archive.
fn write(material: &Material, codec: Codec, sink: Sink, events: &dyn Events) -> Result<(Sink, u64), Error> {
    let failed = |source| Error::Write { source };
    let counted = Counted { sink, bytes: 0 };
    let counted = match codec {
        Codec::None => {
            let mut out = io::BufWriter::with_capacity(1 << 20, counted);
            write_tar(material, &mut out, events)?;
            out.into_inner().map_err(|error| failed(error.into_error()))?
        }
        Codec::Gzip => {
            let mut out = GzBuilder::new().write(counted, flate2::Compression::new(GZIP_LEVEL));
            write_tar(material, &mut out, events)?;
            out.finish().map_err(failed)?
        }
        Codec::Zstd => {
            let mut out = zstd::stream::write::Encoder::new(counted, ZSTD_LEVEL).map_err(failed)?;
            write_tar(material, &mut out, events)?;
            out.finish().map_err(failed)?
        }
    };
    Ok((counted.sink, counted.bytes))
}

fn write_tar(material: &Material, out: &mut impl Write, events: &dyn Events) -> Result<(), Error> {
    let failed = |source| Error::Write { source };
    let mut items: Vec<&Item> = material.items().iter().collect();
    items.sort_by_key(|item| super::seal::order(&item.path));
    let mtime = Time {
        sec: i64::try_from(material.time).unwrap_or(0),
        nsec: 0,
    };
    let (mut directory, mut bytes) = (None, 0);
    for item in items {
        // podman writes none for its volumes, and nobody misses it.
        let own = item.path.directory().filter(|name| *name != VOLUMES);
        if let Some(name) = own.filter(|name| directory.as_deref() != Some(*name)) {
            out.write_all(&header(name, Kind::Directory, DIRECTORY_MODE, mtime)?)
                .map_err(failed)?;
            directory = Some(name.to_owned());
        }
        let kind = Kind::File {
            size: item.size,
            sparse: None,
        };
        out.write_all(&header(item.path.as_str(), kind, FILE_MODE, mtime)?)
            .map_err(failed)?;
        super::material::copy_exactly(material.open(item)?, item.size, out)?;
        io::copy(&mut io::repeat(0).take(tree::padding(item.size)), out).map_err(failed)?;
        bytes += item.size;
        events.emit(Event::Progress { bytes });
    }
    out.write_all(&tree::END).map_err(failed)
}

fn header(name: &str, kind: Kind, mode: u32, mtime: Time) -> Result<Vec<u8>, Error> {
    let path = TreePath::parse(name.as_bytes(), name.len(), 2).map_err(|defect| Error::Tar {
        source: tree::Error::entry(name.as_bytes(), defect),
    })?;
    let meta = Meta {
        mode,
        mtime,
        ..Meta::default()
    };
    let entry = tree::Entry { path, kind, meta };
    // An entry without attributes always fits.
    tree::encode(&entry).map_err(|_| Error::Unknown)
}

/// Counts what is written.
struct Counted {
    sink: Sink,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl From<super::seal::Sealed> for Converted {
    fn from(sealed: super::seal::Sealed) -> Self {
        Self {
            path: sealed.durable.path().map(std::path::Path::to_owned),
            identity: Some(sealed.durable.identity()),
            entries: sealed.entries,
            bytes: sealed.durable.bytes(),
            left: sealed.left,
        }
    }
}
