//! The small entries of an archive, which its plan is made of.

use crate::archive::limits::MAX_JSON;
use crate::cgroup::CgroupRecord;
use crate::error::Error;
use crate::lxc::Source;
use crate::manifest::Manifest;
use crate::process::{FILES_JSON, Listing};
use crate::rewrite::{self, Spec};

/// What the small entries say.
pub(super) struct Small {
    /// The manifest.
    pub(super) manifest: Manifest,
    /// The container's configuration.
    pub(super) spec: Spec,
    /// Its cgroups.
    pub(super) cgroups: Option<CgroupRecord>,
    /// The processes and their files, where the archive is of processes.
    pub(super) listing: Option<Listing>,
    /// The configuration of a container of LXC.
    pub(super) lxc: Option<Source>,
}

impl Small {
    /// Reads them: `read` gives the content of an entry, up to so many bytes, if it is there.
    pub(super) fn read(
        manifest: Manifest,
        read: impl Fn(&str, u64) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Self, Error> {
        let spec = read("spec.dump", MAX_JSON)?.ok_or(Error::NoEntry { entry: "spec.dump" })?;
        let spec = Spec::parse(&spec).map_err(rewrite::Error::from)?;
        let cgroups = read("cgroup.json", MAX_JSON)?;
        let cgroups = cgroups.map(|text| CgroupRecord::from_json(&text)).transpose()?;
        let listing = read(FILES_JSON, MAX_JSON)?;
        let listing = listing.map(|text| Listing::from_json(&text)).transpose();
        let listing = listing.map_err(crate::runtime::Error::from)?;
        let lxc = super::lxc::source(&manifest, &read)?;
        let cgroups = match (&lxc, cgroups) {
            (Some(source), None) => super::lxc::cgroups(source, &read)?,
            (_, cgroups) => cgroups,
        };
        Ok(Self {
            manifest,
            spec,
            cgroups,
            listing,
            lxc,
        })
    }
}
