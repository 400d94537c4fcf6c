//! Arguments of `ckpt import` for containers of LXC.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::usage::UsageError;
use super::value;
use crate::request::LxcOptions;
use crate::rewrite::lxc::{InterfaceRequest, PathMap};

/// Arguments that only containers of LXC know.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "LXC")]
pub struct LxcArgs {
    /// The directory of containers (lxc-* -P), if it is not the one that LXC is configured with
    #[arg(short = 'P', long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    #[arg(conflicts_with = "runtime_root")]
    pub lxcpath: Option<PathBuf>,
    /// The bridge of the interface IF, or what a macvlan is stacked on (repeatable)
    #[arg(long, value_name = "IF=LINK", value_parser = assignment)]
    link: Vec<Assignment>,
    /// The name of the host's end of the veth pair of IF (repeatable)
    #[arg(long, value_name = "IF=NAME", value_parser = assignment)]
    veth: Vec<Assignment>,
    /// The hardware address of IF, from its next start on (repeatable)
    #[arg(long, value_name = "IF=ADDRESS", value_parser = assignment)]
    hwaddr: Vec<Assignment>,
    /// An IPv4 address of IF in place of all it has, from its next start on (repeatable)
    #[arg(long, value_name = "IF=ADDRESS/LENGTH", value_parser = assignment)]
    ipv4: Vec<Assignment>,
    /// An IPv6 address of IF in place of all it has, from its next start on (repeatable)
    #[arg(long, value_name = "IF=ADDRESS/LENGTH", value_parser = assignment)]
    ipv6: Vec<Assignment>,
    /// The IPv4 gateway of IF, from its next start on (repeatable)
    #[arg(long, value_name = "IF=ADDRESS", value_parser = assignment)]
    ipv4_gateway: Vec<Assignment>,
    /// The IPv6 gateway of IF, from its next start on (repeatable)
    #[arg(long, value_name = "IF=ADDRESS", value_parser = assignment)]
    ipv6_gateway: Vec<Assignment>,
    /// Another path of this host for one that the configuration names, with all below it (repeatable)
    #[arg(long, value_name = "PATH=PATH", value_parser = path_map)]
    map_path: Vec<PathMap>,
    /// A path of this host that the configuration may name (repeatable)
    #[arg(long, value_name = "PATH")]
    allow_path: Vec<String>,
    /// A value of lxc.idmap in place of all there are, from the next start on (repeatable)
    #[arg(long, value_name = "u|g INSIDE OUTSIDE SIZE")]
    id_map: Vec<String>,
}

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    key: String,
    value: String,
}

fn assignment(text: &str) -> Result<Assignment, UsageError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(Assignment {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(UsageError::Assignment),
    }
}

fn path_map(text: &str) -> Result<PathMap, UsageError> {
    let Assignment { key: from, value: to } = assignment(text)?;
    if from.starts_with('/') && to.starts_with('/') {
        Ok(PathMap { from, to })
    } else {
        Err(UsageError::PathMap)
    }
}

impl From<LxcArgs> for LxcOptions {
    fn from(args: LxcArgs) -> Self {
        let mut interfaces: BTreeMap<String, InterfaceRequest> = BTreeMap::new();
        let mut set = |list: Vec<Assignment>, set: fn(&mut InterfaceRequest, String)| {
            for Assignment { key, value } in list {
                set(interfaces.entry(key).or_default(), value);
            }
        };
        set(args.link, |interface, value| interface.link = Some(value));
        set(args.veth, |interface, value| interface.veth = Some(value));
        set(args.hwaddr, |interface, value| interface.hwaddr = Some(value));
        set(args.ipv4, |interface, value| {
            interface.ipv4.get_or_insert_default().push(value)
        });
        set(args.ipv6, |interface, value| {
            interface.ipv6.get_or_insert_default().push(value)
        });
        set(args.ipv4_gateway, |interface, value| {
            interface.ipv4_gateway = Some(value)
        });
        set(args.ipv6_gateway, |interface, value| {
            interface.ipv6_gateway = Some(value)
        });
        Self {
            interfaces,
            map_paths: args.map_path,
            allow_paths: args.allow_path,
            id_map: (!args.id_map.is_empty()).then_some(args.id_map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        let taken = assignment("eth0=br=1").unwrap();
        assert_eq!((taken.key.as_str(), taken.value.as_str()), ("eth0", "br=1"));
        for bad in ["eth0", "eth0=", "=br0", ""] {
            assert_eq!(assignment(bad), Err(UsageError::Assignment), "{bad:?}");
        }
        assert_eq!(path_map("a=/b"), Err(UsageError::PathMap));
    }
}
