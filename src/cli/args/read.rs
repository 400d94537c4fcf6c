//! Arguments of the commands that only read: `verify`, `inspect`, `ls`, `cat`, `extract`, `check`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{RuntimeArg, value};
use crate::request::{ImagesIn, ImportRequest, LxcOptions, MapMount, Netns, PodmanOptions, RestoreOptions};

const VERIFY_EXAMPLES: &str = "Examples:
  ckpt verify web.ckpt && echo good
  ssh a cat web.ckpt | ckpt verify -

The identity that is printed is the SHA-256 of the list of all checksums: two archives with the same identity have \
the same content.";
const INSPECT_EXAMPLES: &str = "Examples:
  ckpt inspect web.ckpt
  ckpt inspect web.ckpt --ps-tree-cmd --sockets
  ckpt inspect web.ckpt --files --pid 7
  ckpt inspect web.ckpt --json | jq '.processes[].command_line'

The JSON is that of schema/inspect-v1.schema.json; of several archives, a list. It has every part; environments only with \
--ps-tree-env or --all, mappings only with --maps.";
const LS_EXAMPLES: &str = "Examples:
  ckpt ls web.ckpt
  ckpt ls -l web.ckpt checkpoint";
const CAT_EXAMPLES: &str = "Examples:
  ckpt cat web.ckpt config.dump | jq .
  ckpt cat web.ckpt rootfs-diff.tar | tar t

The entry is checked while it is written: exit status 0 means that every byte was right.";
const EXTRACT_EXAMPLES: &str = "Examples:
  ckpt extract web.ckpt -C web/
  ckpt extract web.ckpt checkpoint dump.log -C web/

Nothing is overwritten, and nothing is written outside the directory.";
const CHECK_EXAMPLES: &str = "Examples:
  ckpt check                can this host export containers?
  ckpt check web.ckpt       would this archive start here?
  ckpt check -              the same, read from standard input

Exit status 0: no line is an error (there may be warnings); 3: something has to change on this host first.";

/// Arguments of `ckpt verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Threads that decompress and verify, one per processor if not given
    #[arg(long, value_name = "N", value_parser = value::threads)]
    pub threads: Option<NonZeroUsize>,
}

/// Arguments of `ckpt inspect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArgs {
    /// The archives, or - for standard input
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub archives: Vec<PathBuf>,
    /// What is shown.
    #[command(flatten)]
    pub parts: Parts,
}

/// The parts of an archive that `ckpt inspect` shows in full, under checkpointctl's names where that has them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Parts to show in full, instead of the short view")]
pub struct Parts {
    /// The process tree, with threads
    #[arg(long)]
    pub ps_tree: bool,
    /// The process tree with command lines
    #[arg(long)]
    pub ps_tree_cmd: bool,
    /// The process tree with environments, which may hold secrets
    #[arg(long, visible_alias = "env")]
    pub ps_tree_env: bool,
    /// Open files of every process
    #[arg(long)]
    pub files: bool,
    /// Sockets, with addresses, states and queues
    #[arg(long)]
    pub sockets: bool,
    /// Mounts
    #[arg(long)]
    pub mounts: bool,
    /// Memory by kind and by process
    #[arg(long)]
    pub memory: bool,
    /// Every mapping of memory
    #[arg(long)]
    pub maps: bool,
    /// Network devices, addresses, routes and ports
    #[arg(long)]
    pub network: bool,
    /// Limits of the cgroups
    #[arg(long)]
    pub cgroups: bool,
    /// CRIU's statistics of the dump
    #[arg(long)]
    pub stats: bool,
    /// Pod, namespace and annotations
    #[arg(long)]
    pub metadata: bool,
    /// All of these but --maps
    #[arg(short, long)]
    pub all: bool,
    /// Only this process
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,
}

impl Parts {
    /// Whether any was chosen.
    pub fn any(&self) -> bool {
        let Self {
            files,
            sockets,
            mounts,
            memory,
            maps,
            network,
            cgroups,
            stats,
            metadata,
            all,
            ..
        } = self;
        let chosen = [
            files, sockets, mounts, memory, maps, network, cgroups, stats, metadata, all,
        ];
        self.processes() || chosen.into_iter().any(|part| *part)
    }

    /// Whether the process tree is to be shown.
    pub fn processes(&self) -> bool {
        let only_pid = self.pid.is_some() && ![self.files, self.sockets, self.memory, self.maps].contains(&true);
        self.ps_tree || self.ps_tree_cmd || self.ps_tree_env || only_pid
    }
}

/// Arguments of `ckpt ls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = LS_EXAMPLES)]
pub struct LsArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only these entries, or what is below these directories
    #[arg(value_name = "ENTRY")]
    pub entries: Vec<String>,
    /// Add mode, owner, size and time to each name
    #[arg(short, long)]
    pub long: bool,
}

/// Arguments of `ckpt cat`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CAT_EXAMPLES)]
pub struct CatArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The entry, as ckpt ls prints it
    #[arg(value_name = "ENTRY")]
    pub entry: String,
}

/// Arguments of `ckpt extract`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXTRACT_EXAMPLES)]
pub struct ExtractArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only these entries, or what is below these directories
    #[arg(value_name = "ENTRY")]
    pub entries: Vec<String>,
    /// Where to; made if it is not there
    #[arg(short = 'C', long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = ".")]
    pub directory: PathBuf,
    /// Threads that decompress and verify, one per processor if not given
    #[arg(long, value_name = "N", value_parser = value::threads)]
    pub threads: Option<NonZeroUsize>,
}

/// Arguments of `ckpt check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// An archive to compare this host with, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Look at this runtime; auto takes the one that made the archive, or each that is installed
    #[arg(long, value_enum, value_name = "RUNTIME", default_value = "auto")]
    pub runtime: RuntimeArg,
    /// The runtime's state directory, if it is not the usual one
    #[arg(long, value_name = "DIR", requires = "file", value_hint = ValueHint::DirPath)]
    #[arg(value_parser = value::absolute())]
    pub runtime_root: Option<PathBuf>,
    /// The container's name as it would be given to ckpt import
    #[arg(short, long, value_name = "NAME", requires = "file", value_parser = value::name)]
    pub name: Option<String>,
    /// The root file system as it would be given to ckpt import
    #[arg(long, value_name = "DIR", requires = "file", value_hint = ValueHint::DirPath)]
    #[arg(value_parser = value::absolute())]
    pub root: Option<PathBuf>,
    /// The bundle directory as it would be given to ckpt import
    #[arg(long, value_name = "DIR", requires = "file", value_hint = ValueHint::DirPath)]
    #[arg(value_parser = value::absolute())]
    pub bundle: Option<PathBuf>,
    /// A mapped bind mount as it would be given to ckpt import (repeatable)
    #[arg(long, value_name = "DST=SRC", requires = "file", value_parser = value::map_mount)]
    pub map_mount: Vec<MapMount>,
    /// Processes: compare as for ckpt import --new-pidns
    #[arg(long, requires = "file")]
    pub new_pidns: bool,
}

impl CheckArgs {
    /// The import that an archive is checked for: one that allows nothing, so that everything it asks for is told.
    pub fn request(&self) -> Option<ImportRequest> {
        Some(ImportRequest {
            input: value::input(self.file.clone()?),
            threads: value::default_threads(),
            name: self.name.clone(),
            runtime: self.runtime.into(),
            allow_other_runtime: false,
            state_root: self.runtime_root.clone(),
            bundle: self.bundle.clone(),
            replace: false,
            root: self.root.clone(),
            ignore_rootfs: false,
            map_mounts: self.map_mount.clone(),
            allow_mounts: Vec::new(),
            allow_all_mounts: false,
            allow_hooks: false,
            allow_criu_config: false,
            allow_annotations: Vec::new(),
            allow_devices: Vec::new(),
            cgroup_parent: None,
            ignore_cgroup_limits: false,
            netns: Netns::Keep,
            new_pidns: self.new_pidns,
            replace_files: Vec::new(),
            allow_files: Vec::new(),
            hostname: None,
            pages: None,
            console_socket: None,
            pid_file: None,
            parents: Vec::new(),
            restore: RestoreOptions::default(),
            work_path: None,
            lazy: false,
            dry_run: true,
            no_restore: false,
            images_in: ImagesIn::Auto,
            podman: PodmanOptions::default(),
            lxc: LxcOptions::default(),
        })
    }
}
