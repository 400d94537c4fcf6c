//! Cgroups as CRIU's own record, `cgroup.img`, has them: what there is where an archive has no `cgroup.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::Error;
use super::limits::MAX_CGROUPS;
use super::proto;
use super::record::{CGROUP, first};
use super::source::ImageSource;
use super::text::text;

const IMAGE: &str = "cgroup.img";
/// Values without which a cgroup is as it was made.
const UNLIMITED: [&str; 5] = ["", "max", "-1", "0", "9223372036854771712"];

/// The limits of one cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CgroupLimits {
    /// The controllers of its hierarchy.
    pub controllers: Vec<String>,
    /// Its path.
    pub path: String,
    /// Files of it and what is in them.
    pub limits: BTreeMap<String, String>,
}

/// The cgroups that have limits.
pub(super) fn read(images: &dyn ImageSource) -> Result<Vec<CgroupLimits>, Error> {
    let Some(image) = images.find(IMAGE)? else {
        return Ok(Vec::new());
    };
    let cgroup: proto::Cgroup = first(CGROUP, IMAGE, &image)?;
    let mut found = Vec::new();
    for controller in &cgroup.controllers {
        let names: Vec<String> = controller.cnames.iter().map(|name| text(name)).collect();
        let mut seen = 0;
        let mut rest: Vec<(String, &proto::CgroupDirectory)> = controller
            .dirs
            .iter()
            .map(|directory| (String::new(), directory))
            .collect();
        while let Some((above, directory)) = rest.pop() {
            seen += 1;
            if seen + found.len() > MAX_CGROUPS {
                return Err(Error::too_many(IMAGE, "cgroups", MAX_CGROUPS));
            }
            let path = below(&above, &text(&directory.dir_name));
            rest.extend(directory.children.iter().map(|child| (path.clone(), child)));
            let limits = limits(directory);
            if !limits.is_empty() {
                let controllers = names.clone();
                found.push(CgroupLimits {
                    controllers,
                    path,
                    limits,
                });
            }
        }
    }
    Ok(found)
}

/// CRIU writes the path of a first directory whole, and of those below only what is added.
fn below(above: &str, name: &str) -> String {
    let path = format!("{above}/{}", name.trim_start_matches('/'));
    if path.len() > 1 {
        path.trim_end_matches('/').to_owned()
    } else {
        path
    }
}

fn limits(directory: &proto::CgroupDirectory) -> BTreeMap<String, String> {
    let pairs = directory
        .properties
        .iter()
        .map(|property| (text(&property.name), text(&property.value)));
    pairs
        .map(|(name, value)| (name, value.trim().to_owned()))
        .filter(|(_, value)| !UNLIMITED.contains(&value.as_str()))
        .collect()
}
