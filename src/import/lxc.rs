//! What an import of a container of LXC has to know: the archived configuration, and LXC on this host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::limits::MAX_JSON;
use crate::cgroup::{self, CgroupRecord, Configured};
use crate::error::Error;
use crate::links;
use crate::lxc::phaul::{self, PhaulGroup};
use crate::lxc::source::{CONFIG_ENTRY, PHAUL_ENTRY};
use crate::lxc::{Config, Includes, Source, keys};
use crate::manifest::Manifest;
use crate::request::{ImportRequest, RuntimeKind};
use crate::rewrite::LxcHost;
use crate::rewrite::lxc::is_vouched_for;
use crate::runtime::{self, Lxc, Runtime as _};

/// Where containers are when LXC is not there to say.
const LXCPATH: &str = "/var/lib/lxc";
/// Whether AppArmor is at work.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// There where CRIU can see it.
const SEEN_APPARMOR: &str = "/sys/kernel/security/apparmor";
/// There where SELinux is at work.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Reads the archived configuration with `get`; `None` where the archive is not of a container of LXC.
pub(super) fn source(
    manifest: &Manifest,
    get: impl Fn(&str, u64) -> Result<Option<Vec<u8>>, Error>,
) -> Result<Option<Source>, Error> {
    if RuntimeKind::from_name(&manifest.runtime.name) != Some(RuntimeKind::Lxc) {
        return Ok(None);
    }
    let source = Source::read(|name| get(name, MAX_JSON))?;
    source.map(Some).ok_or(Error::NoEntry { entry: CONFIG_ENTRY })
}

/// The cgroups of an archive that has them in p.haul's form alone, which knows no limits: those of the configuration are set.
pub(super) fn cgroups(
    source: &Source,
    get: impl Fn(&str, u64) -> Result<Option<Vec<u8>>, Error>,
) -> Result<Option<CgroupRecord>, Error> {
    let Some(text) = get(PHAUL_ENTRY, MAX_JSON)? else {
        return Ok(None);
    };
    let effective = source.effective();
    let limits = |prefix: &str| -> BTreeMap<String, String> {
        let set = effective
            .below(prefix)
            .filter(|(name, _)| *name != "relative" && !name.starts_with("dir"));
        set.filter_map(|(name, values)| Some((name.to_owned(), values.last()?.value.clone())))
            .collect()
    };
    let (v1, v2) = (limits("lxc.cgroup"), limits("lxc.cgroup2"));
    let group = |group: PhaulGroup| Configured {
        limits: if group.controller.is_some() {
            v1.clone()
        } else {
            v2.clone()
        },
        controller: group.controller,
        path: group.path,
    };
    let groups: Vec<_> = phaul::read(&text)?.into_iter().map(group).collect();
    let record = cgroup::configured(&groups)?;
    for unread in &record.unread {
        tracing::warn!(
            file = unread.what,
            "a limit of the configuration is not set beside what CRIU restores"
        );
    }
    Ok(Some(record))
}

/// LXC on this host, as far as the plan asks.
pub(super) fn host(request: &ImportRequest, source: &Source) -> Result<LxcHost, Error> {
    let (lxcpath, major) = match Lxc::open(request.state_root.as_deref()) {
        Ok(lxc) => (lxc.lxcpath().to_owned(), runtime::lxc::major(&lxc.version()?)),
        Err(runtime::Error::NotInstalled { .. }) => {
            let path = request.state_root.clone();
            (path.unwrap_or_else(|| PathBuf::from(LXCPATH)), None)
        }
        Err(error) => return Err(error.into()),
    };
    let interfaces = links::here()?;
    let bridges = interfaces.iter().filter(|interface| links::is_bridge(interface));
    Ok(LxcHost {
        lxcpath,
        major,
        includes: includes(&source.config, request),
        interfaces: interfaces.iter().map(|interface| interface.name.clone()).collect(),
        bridges: bridges.map(|bridge| bridge.name.clone()).collect(),
        apparmor: fs::read_to_string(APPARMOR).is_ok_and(|text| text.trim() == "Y"),
        securityfs: Path::new(SEEN_APPARMOR).exists(),
        selinux: Path::new(SELINUX).exists(),
    })
}

/// What the includes of the archived configuration have on this host, by their values. A file that nobody vouches for is
/// not even looked at: it is refused anyway.
fn includes(config: &Config, request: &ImportRequest) -> Includes {
    let mut found = Includes::new();
    let settings = config.settings().filter(|(_, setting)| setting.key == keys::INCLUDE);
    for (_, setting) in settings {
        let value = &setting.value;
        let Some(path) = is_vouched_for(value, &request.lxc.map_paths, &request.lxc.allow_paths) else {
            continue;
        };
        let Ok(files) = runtime::lxc::included(Path::new(&path)) else {
            continue;
        };
        for file in &files {
            found.extend(runtime::lxc::includes_of_host(&file.config));
        }
        // The rewritten configuration names it by its path here.
        found.insert(path, files.clone());
        found.insert(value.clone(), files);
    }
    found
}
