//! Arguments of `ckpt import`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::lxc::LxcArgs;
use super::usage::UsageError;
use super::{CgroupsModeArg, EmptyNsArg, ImagesInArg, RuntimeArg, value};
use crate::request::{ImportRequest, MapMount, Netns, PodmanOptions, RestoreOptions, RuntimeKind};

const EXAMPLES: &str = "Examples:
  ckpt import web.ckpt --dry-run                   what would be done, step by step
  ckpt import web.ckpt                             go on running web
  ckpt import web.ckpt -n web2 --netns new         under another name, with a new network
  ckpt import db.ckpt --map-mount /data=/srv/db    its /data comes from /srv/db here
  ckpt import web.ckpt --lazy                      go on at once, memory follows while it runs
  ssh a ckpt export web -o - | ckpt import -       straight from another host

Nothing of an archive is used before all of it is verified. Bind mounts of host paths, OCI hooks and CRIU options that \
an archive brings along are refused unless a flag names them. A failed import leaves nothing behind: mend the cause and \
run it again.";

/// Arguments of `ckpt import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "status")]
    file: Option<PathBuf>,
    /// Name of the container on this host, if not the one in the archive
    #[arg(short, long, value_name = "NAME", value_parser = value::name)]
    name: Option<String>,
    /// Show the plan and stop; nothing is changed
    #[arg(long, conflicts_with = "no_restore")]
    dry_run: bool,
    /// Stop with a ready bundle and image directory
    #[arg(long)]
    no_restore: bool,
    /// Run the container at once; its memory follows from FILE, which must stay where it is until then
    #[arg(long, conflicts_with_all = ["no_restore", "parent", "pages", "auto_dedup"])]
    lazy: bool,
    /// With --lazy: return when all of the container's memory is there (the default)
    #[arg(long, requires = "lazy", conflicts_with = "detach")]
    wait: bool,
    /// With --lazy: return when the container runs, and let its memory follow in the background
    #[arg(long, requires = "lazy", conflicts_with = "dry_run")]
    pub detach: bool,
    /// Show how far lazy imports are: all of them, or that of the container NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, value_parser = value::name,
          conflicts_with_all = ["file", "lazy", "dry_run", "no_restore"])]
    pub status: Option<Option<String>>,
    /// Where memory images are until they are restored: on a tmpfs, beside the bundle, or wherever is faster
    #[arg(long, value_enum, value_name = "PLACE", default_value = "auto", conflicts_with_all = ["no_restore", "lazy"])]
    images_in: ImagesInArg,
    /// Threads that decompress and verify, one per processor if not given
    #[arg(long, value_name = "N", value_parser = value::threads)]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    podman: PodmanArgs,
    #[command(flatten)]
    allow: AllowArgs,
    #[command(flatten)]
    lxc: LxcArgs,
    #[command(flatten)]
    restore: RestoreArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Runtime")]
struct RuntimeArgs {
    /// The runtime that restores; auto takes the one that made the archive
    #[arg(long, value_enum, value_name = "RUNTIME", default_value = "auto")]
    runtime: RuntimeArg,
    /// The runtime's state directory, if it is not the usual one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    runtime_root: Option<PathBuf>,
    /// Socket that gets the terminal of the container, if it has one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, value_parser = value::absolute())]
    console_socket: Option<PathBuf>,
    /// File that gets the process ID of the container's first process
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = value::absolute())]
    pid_file: Option<PathBuf>,
    /// Restore without pivot_root, for a root file system on a ramdisk
    #[arg(long)]
    no_pivot: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Where the bundle is made, a new or empty directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    bundle: Option<PathBuf>,
    /// Take the place of the bundle that an earlier import of this name left, if no container uses it any more
    #[arg(long, conflicts_with = "bundle")]
    replace: bool,
    /// The root file system: where a full one is put, or the files below the changes of a diff
    #[arg(long, visible_alias = "rootfs", value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    root: Option<PathBuf>,
    /// Take the files at --root, or podman's of the image, as they are, without what the archive holds of them
    #[arg(long)]
    ignore_rootfs: bool,
    /// Take the bind mount at DST of the container from SRC on this host (repeatable)
    #[arg(long, value_name = "DST=SRC", value_parser = value::map_mount)]
    map_mount: Vec<MapMount>,
    /// An earlier archive that this one is incremental to (repeatable, oldest first)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = value::absolute())]
    parent: Vec<PathBuf>,
    /// The images directory of the page server that took the memory (export --page-server)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    pages: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cgroups, network and names")]
struct HostArgs {
    /// The cgroup that the container's cgroup is made in
    #[arg(long, value_name = "CGROUP", value_parser = value::cgroup)]
    cgroup_parent: Option<String>,
    /// Leave the memory, CPU and other limits that the archive records unset
    #[arg(long)]
    ignore_cgroup_limits: bool,
    /// Network namespace: the path of one, new, or host
    #[arg(long, value_name = "PATH|new|host", value_hint = ValueHint::FilePath)]
    netns: Option<PathBuf>,
    /// Processes: in a new PID namespace, with its own /proc, whatever their numbers are here
    #[arg(long, conflicts_with = "shell_job")]
    new_pidns: bool,
    /// Hostname in the configuration (processes that run keep the one they have)
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Hostname)]
    hostname: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "podman")]
struct PodmanArgs {
    /// Publish a port, as podman run does, instead of those that the container published (repeatable)
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Take the address that the network gives, not the one that the container had
    #[arg(long)]
    ignore_static_ip: bool,
    /// Take another MAC address than the container had
    #[arg(long)]
    ignore_static_mac: bool,
    /// The pod that the container joins, if it was in one
    #[arg(long, value_name = "POD", value_parser = value::name)]
    pod: Option<String>,
    /// Use volumes that are there as they are, without what the archive holds of them
    #[arg(long)]
    ignore_volumes: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What the archive may do to this host")]
struct AllowArgs {
    /// Allow the bind mount at DST to come from the path the archive names (repeatable)
    #[arg(long, value_name = "DST", value_parser = value::destination)]
    allow_mount: Vec<String>,
    /// Processes: replace the file at PATH of this host by the archive's (repeatable)
    #[arg(long, value_name = "PATH", value_parser = value::absolute(), value_hint = ValueHint::FilePath)]
    replace_file: Vec<PathBuf>,
    /// Processes: go on with the file at PATH of this host, though its content is another one (repeatable)
    #[arg(long, value_name = "PATH", value_parser = value::absolute(), value_hint = ValueHint::FilePath)]
    allow_file: Vec<PathBuf>,
    /// Allow every bind mount to come from the path the archive names
    #[arg(long)]
    allow_all_mounts: bool,
    /// Allow the OCI hooks in the archive: programs of this host, run as root
    #[arg(long)]
    allow_hooks: bool,
    /// Allow the CRIU options in the archive (annotation org.criu.config)
    #[arg(long)]
    allow_criu_config: bool,
    /// Allow the annotation KEY, which makes a runtime or an engine act (repeatable)
    #[arg(long, value_name = "KEY")]
    allow_annotation: Vec<String>,
    /// Allow the device at PATH of the container (repeatable)
    #[arg(long, value_name = "PATH", value_parser = value::destination)]
    allow_device: Vec<String>,
    /// Try a runtime that did not make the archive, named by --runtime
    #[arg(long)]
    allow_other_runtime: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CRIU (what the export was made with is repeated by itself)")]
struct RestoreArgs {
    /// Restore established TCP connections
    #[arg(long, conflicts_with = "tcp_close")]
    tcp_established: bool,
    /// Close the TCP connections that the archive holds
    #[arg(long)]
    tcp_close: bool,
    /// Allow Unix sockets whose other end is outside the container
    #[arg(long)]
    ext_unix_sk: bool,
    /// Restore a job of a terminal that is not the container's own
    #[arg(long)]
    shell_job: bool,
    /// Restore file locks
    #[arg(long)]
    file_locks: bool,
    /// Restore deleted files that the export linked back
    #[arg(long)]
    link_remap: bool,
    /// How CRIU treats cgroups
    #[arg(long, value_enum, value_name = "MODE")]
    manage_cgroups_mode: Option<CgroupsModeArg>,
    /// Leave this namespace empty (repeatable)
    #[arg(long, value_enum, value_name = "NS")]
    empty_ns: Vec<EmptyNsArg>,
    /// Punch pages out of the images as they are restored
    #[arg(long)]
    auto_dedup: bool,
    /// CRIU's working directory, kept afterwards
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    work_path: Option<PathBuf>,
    /// Descriptor that gets one byte when the restore is ready
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    status_fd: Option<i32>,
    /// Security profile (AppArmor, SELinux) of the restored processes
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// SELinux context of the restored mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
}

impl TryFrom<ImportArgs> for ImportRequest {
    type Error = UsageError;

    fn try_from(args: ImportArgs) -> Result<Self, UsageError> {
        let (runtime, state_root) = super::runtime_of(
            args.runtime.runtime,
            args.runtime.runtime_root,
            args.lxc.lxcpath.clone(),
        )?;
        if args.allow.allow_other_runtime && runtime.is_none() {
            return Err(UsageError::OtherRuntimeWithoutName);
        }
        if args.files.ignore_rootfs && args.files.root.is_none() && runtime != Some(RuntimeKind::Podman) {
            return Err(UsageError::IgnoredRootfsWithoutRoot);
        }
        let podman = podman_options(args.podman);
        if podman != PodmanOptions::default() && !matches!(runtime, None | Some(RuntimeKind::Podman)) {
            return Err(UsageError::OnlyForPodman);
        }
        Ok(Self {
            input: value::input(args.file.ok_or(UsageError::NoArchive)?),
            threads: args.threads.unwrap_or_else(value::default_threads),
            name: args.name,
            runtime,
            allow_other_runtime: args.allow.allow_other_runtime,
            state_root,
            bundle: args.files.bundle,
            replace: args.files.replace,
            root: args.files.root,
            ignore_rootfs: args.files.ignore_rootfs,
            map_mounts: once_each(args.files.map_mount)?,
            allow_mounts: args.allow.allow_mount,
            allow_all_mounts: args.allow.allow_all_mounts,
            allow_hooks: args.allow.allow_hooks,
            allow_criu_config: args.allow.allow_criu_config,
            allow_annotations: args.allow.allow_annotation,
            allow_devices: args.allow.allow_device,
            cgroup_parent: args.host.cgroup_parent,
            ignore_cgroup_limits: args.host.ignore_cgroup_limits,
            netns: args.host.netns.map_or(Ok(Netns::Keep), netns)?,
            new_pidns: args.host.new_pidns,
            replace_files: args.allow.replace_file,
            allow_files: args.allow.allow_file,
            hostname: args.host.hostname,
            console_socket: args.runtime.console_socket,
            pid_file: args.runtime.pid_file,
            parents: args.files.parent,
            pages: args.files.pages,
            work_path: args.restore.work_path.clone(),
            restore: restore_options(args.restore, args.runtime.no_pivot),
            lazy: args.lazy,
            dry_run: args.dry_run,
            no_restore: args.no_restore,
            images_in: args.images_in.into(),
            podman,
            lxc: args.lxc.into(),
        })
    }
}

fn podman_options(args: PodmanArgs) -> PodmanOptions {
    PodmanOptions {
        publish: args.publish,
        ignore_static_ip: args.ignore_static_ip,
        ignore_static_mac: args.ignore_static_mac,
        pod: args.pod,
        ignore_volumes: args.ignore_volumes,
    }
}

/// `new`, `host`, or a path; `./new` is a path.
fn netns(path: PathBuf) -> Result<Netns, UsageError> {
    match path.to_str() {
        Some("new") => Ok(Netns::New),
        Some("host") => Ok(Netns::Host),
        _ => std::path::absolute(&path)
            .map(Netns::Path)
            .map_err(|_| UsageError::Netns),
    }
}

fn once_each(mounts: Vec<MapMount>) -> Result<Vec<MapMount>, UsageError> {
    let mut seen = BTreeSet::new();
    for mount in &mounts {
        if !seen.insert(&mount.destination) {
            return Err(UsageError::MappedTwice {
                destination: mount.destination.clone(),
            });
        }
    }
    Ok(mounts)
}

fn restore_options(args: RestoreArgs, no_pivot: bool) -> RestoreOptions {
    RestoreOptions {
        tcp_established: args.tcp_established,
        tcp_close: args.tcp_close,
        ext_unix_sk: args.ext_unix_sk,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        link_remap: args.link_remap,
        manage_cgroups_mode: args.manage_cgroups_mode.map(String::from),
        empty_ns: args.empty_ns.into_iter().map(String::from).collect(),
        auto_dedup: args.auto_dedup,
        status_fd: args.status_fd,
        no_pivot,
        lsm_profile: args.lsm_profile,
        lsm_mount_context: args.lsm_mount_context,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;
    use crate::request::{Input, RuntimeKind};

    fn parse(line: &str) -> Result<ImportArgs, clap::Error> {
        let words = ["ckpt", "import"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Import(args) => Ok(*args),
            other => panic!("not an import: {other:?}"),
        }
    }

    fn request(line: &str) -> Result<ImportRequest, UsageError> {
        ImportRequest::try_from(parse(line).unwrap())
    }

    #[test]
    fn defaults_allow_nothing() {
        let request = request("web.ckpt").unwrap();
        assert_eq!(request.input, Input::File("web.ckpt".into()));
        assert_eq!(request.netns, Netns::Keep);
        assert_eq!(request.restore, RestoreOptions::default());
        let allowed = [
            request.allow_all_mounts,
            request.allow_hooks,
            request.allow_criu_config,
            request.allow_other_runtime,
            !request.allow_mounts.is_empty(),
            !request.allow_annotations.is_empty(),
            !request.allow_devices.is_empty(),
        ];
        assert_eq!(allowed, [false; 7]);
    }

    #[test]
    fn every_flag_reaches_the_request() {
        let line = "- -n web2 --runtime crun --runtime-root /run/x --bundle /b --root /r --ignore-rootfs \
                    --map-mount /d=/s --map-mount /e=/t --allow-mount /f --allow-all-mounts --allow-hooks \
                    --allow-criu-config --allow-annotation k.e/y --allow-device /dev/fuse --allow-other-runtime --cgroup-parent /m --ignore-cgroup-limits --netns new \
                    --hostname h --console-socket /c.sock --pid-file /p --parent /1 --parent /2 --no-restore \
                    --work-path /w --threads 3";
        let request = request(line).unwrap();
        assert_eq!(request.input, Input::Stdin);
        assert_eq!(request.name.as_deref(), Some("web2"));
        assert_eq!(request.runtime, Some(RuntimeKind::Crun));
        assert_eq!(request.map_mounts.len(), 2);
        assert_eq!(request.netns, Netns::New);
        assert_eq!(request.parents, [PathBuf::from("/1"), PathBuf::from("/2")]);
        assert_eq!(request.threads.get(), 3);
        let switches = [
            request.ignore_rootfs,
            request.allow_all_mounts,
            request.allow_hooks,
            request.allow_criu_config,
            request.allow_other_runtime,
            request.ignore_cgroup_limits,
            request.no_restore,
            !request.dry_run,
        ];
        assert_eq!(switches, [true; 8]);
        let paths = [
            request.bundle,
            request.root,
            request.console_socket,
            request.pid_file,
            request.work_path,
        ];
        assert_eq!(
            paths.map(Option::unwrap),
            ["/b", "/r", "/c.sock", "/p", "/w"].map(PathBuf::from)
        );
        assert_eq!(request.state_root, Some("/run/x".into()));
        assert_eq!(request.hostname.as_deref(), Some("h"));
        assert_eq!(request.cgroup_parent.as_deref(), Some("/m"));
        assert_eq!(request.allow_mounts, ["/f"]);
        assert_eq!(request.allow_annotations, ["k.e/y"]);
        assert_eq!(request.allow_devices, ["/dev/fuse"]);
    }

    #[test]
    fn every_switch_of_criu_reaches_the_request() {
        let line = "f --tcp-close --ext-unix-sk --shell-job --file-locks --link-remap --manage-cgroups-mode full \
                    --empty-ns network --auto-dedup --status-fd 4 --no-pivot --lsm-profile apparmor:p \
                    --lsm-mount-context c";
        let want = RestoreOptions {
            tcp_established: false,
            tcp_close: true,
            ext_unix_sk: true,
            shell_job: true,
            file_locks: true,
            link_remap: true,
            manage_cgroups_mode: Some("full".into()),
            empty_ns: vec!["network".into()],
            auto_dedup: true,
            status_fd: Some(4),
            no_pivot: true,
            lsm_profile: Some("apparmor:p".into()),
            lsm_mount_context: Some("c".into()),
        };
        assert_eq!(request(line).unwrap().restore, want);
        assert!(request("f --tcp-established").unwrap().restore.tcp_established);
    }

    #[test]
    fn network_namespaces() {
        let of = |line| request(line).unwrap().netns;
        assert_eq!(of("f --netns host"), Netns::Host);
        assert_eq!(of("f --netns /run/netns/x"), Netns::Path("/run/netns/x".into()));
        let Netns::Path(path) = of("f --netns ./new") else {
            panic!("./new is a path")
        };
        assert!(path.is_absolute() && path.ends_with("new"));
    }

    #[test]
    fn files_as_they_are_need_somebody_who_has_them() {
        assert!(request("f --ignore-rootfs").is_err());
        for good in ["f --ignore-rootfs --root /r", "f --ignore-rootfs --runtime podman"] {
            assert!(request(good).unwrap().ignore_rootfs, "{good}");
        }
    }

    #[test]
    fn podman_gets_what_is_podman_s() {
        let line = "f --runtime podman -p 8080:80 --publish 81:81/udp --ignore-static-ip --ignore-static-mac --pod p --ignore-volumes";
        let want = PodmanOptions {
            publish: vec!["8080:80".into(), "81:81/udp".into()],
            ignore_static_ip: true,
            ignore_static_mac: true,
            pod: Some("p".into()),
            ignore_volumes: true,
        };
        assert_eq!(request(line).unwrap().podman, want);
        assert!(request("f --runtime runc --pod p").is_err());
    }

    #[test]
    fn what_is_refused() {
        let twice = UsageError::MappedTwice {
            destination: "/d".into(),
        };
        assert_eq!(request("f --map-mount /d=/a --map-mount /d/=/b").unwrap_err(), twice);
        assert_eq!(
            request("f --allow-other-runtime").unwrap_err(),
            UsageError::OtherRuntimeWithoutName
        );
        assert_eq!(
            request("f --runtime runc -P /x").unwrap_err(),
            UsageError::LxcPathOfOther
        );
        let wrong = [
            "",
            "f g",
            "f --dry-run --no-restore",
            "f --tcp-close --tcp-established",
            "f --name a/b",
            "f --map-mount /d",
            "f --cgroup-parent ../x",
            "f --runtime docker",
            "f --lxcpath /x --runtime-root /y",
            "f --link eth0",
            "f --detach",
            "f --wait",
            "f --lazy --wait --detach",
            "f --lazy --detach --dry-run",
            "f --lazy --no-restore",
            "f --lazy --parent g",
            "f --lazy --pages /d",
            "f --lazy --auto-dedup",
            "f --status",
            "--status a/b",
        ];
        for line in wrong {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
