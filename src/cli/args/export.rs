//! Arguments of `ckpt export`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use super::usage::UsageError;
use super::{CgroupsModeArg, EmptyNsArg, RuntimeArg, value};
use crate::archive::{Compression, Level};
use crate::manifest::DumpOptions;
use crate::request::{ContainerRef, ExportRequest, ProcessRef, RootfsChoice, RuntimeKind, Subject};

const EXAMPLES: &str = "Examples:
  ckpt export web -o web.ckpt                      stop web and keep it as a file
  ckpt export web -o web.ckpt --leave-running      take a copy; web goes on
  ckpt export db -o - --tcp-established | ssh b ckpt import -
  ckpt export db -o db.ckpt --with-mount /data     the content of the bind mount too
  ckpt export --unit nginx.service -o nginx.ckpt   a service that is no container
  ckpt export --pid 4711 --files open --files-below /srv -o app.ckpt
  ckpt export --images /dump --bundle /run/b --runtime runc -o old.ckpt

Until the archive is complete, on disk and under its name, every failure leaves the container running, and an older \
archive of the same name as it was.";

/// Arguments of `ckpt export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("subject").args(["container", "images", "pid", "unit"]).required(true)))]
pub struct ExportArgs {
    /// The container, as the runtime names it
    #[arg(value_name = "CONTAINER", value_parser = value::name)]
    container: Option<String>,
    /// The archive to write, or - for standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    foreign: ForeignArgs,
    #[command(flatten)]
    dump: DumpArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Runtime")]
struct RuntimeArgs {
    /// The container's runtime; auto asks each that is installed
    #[arg(long, value_enum, value_name = "RUNTIME", default_value = "auto")]
    runtime: RuntimeArg,
    /// The runtime's state directory, if it is not the usual one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    runtime_root: Option<PathBuf>,
    /// The directory of LXC's containers (lxc-* -P), if it is not the one that LXC is configured with
    #[arg(short = 'P', long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    #[arg(conflicts_with = "runtime_root")]
    lxcpath: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Archive")]
struct ArchiveArgs {
    /// How the archive is compressed
    #[arg(short, long, value_enum, value_name = "HOW", default_value = "zstd")]
    compress: CompressArg,
    /// Level of compression: 1 to 19 for zstd, 1 to 9 for gzip; auto begins at 3 or 6, and lowers it while the container
    /// would have to wait. If not given: auto for a container, 3 or 6 with --images or SOURCE_DATE_EPOCH
    #[arg(long, value_name = "N|auto", allow_negative_numbers = true, value_parser = value::level)]
    level: Option<Level>,
    /// Threads that compress, one per processor if not given; at a fixed level the archive is the same with any number
    #[arg(long, value_name = "N", value_parser = value::threads)]
    threads: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What goes into it")]
struct ContentArgs {
    /// Root file system: diff takes the changes above an overlay, full all files; auto chooses
    #[arg(long, value_enum, value_name = "WHAT", default_value = "auto")]
    rootfs: RootfsArg,
    /// Take the content of the bind mount at DST along (repeatable)
    #[arg(long, value_name = "DST", value_parser = value::destination)]
    with_mount: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Processes that are no container")]
struct ProcessArgs {
    /// The process with this number, and its descendants
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// The main process of this systemd unit, and its descendants
    #[arg(long, value_name = "NAME.service")]
    unit: Option<String>,
    /// Take along the regular files that the processes have open or mapped, as far as they are below --files-below
    #[arg(long, value_enum, value_name = "WHICH", requires = "files_below")]
    files: Option<FilesArg>,
    /// A directory that --files takes files from (repeatable)
    #[arg(long, value_name = "DIR", requires = "files", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    files_below: Vec<PathBuf>,
}

/// Which files travel, as `--files` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FilesArg {
    Open,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "A dump that somebody else made")]
struct ForeignArgs {
    /// Take these CRIU images instead of dumping a container
    #[arg(long, value_name = "DIR", requires = "bundle", value_hint = ValueHint::DirPath)]
    #[arg(value_parser = value::absolute(), conflicts_with_all = ["page_server", "status_fd", "pre_dump", "work_path"])]
    images: Option<PathBuf>,
    /// The bundle the images belong to: config.json and the root file system
    #[arg(long, value_name = "DIR", requires = "images", value_hint = ValueHint::DirPath)]
    #[arg(value_parser = value::absolute(), conflicts_with = "container")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CRIU (an import repeats what it has to by itself)")]
struct DumpArgs {
    /// Let the container go on running after the export
    #[arg(short = 'R', long)]
    leave_running: bool,
    /// Dump established TCP connections; the container needs the same address where it goes on
    #[arg(long)]
    tcp_established: bool,
    /// Skip TCP connections that are not accepted yet
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Allow Unix sockets whose other end is outside the container
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a container that was started from a terminal which is not its own
    #[arg(long)]
    shell_job: bool,
    /// Dump file locks
    #[arg(long)]
    file_locks: bool,
    /// Link deleted files that are still open back into the file system
    #[arg(long)]
    link_remap: bool,
    /// How CRIU treats cgroups
    #[arg(long, value_enum, value_name = "MODE")]
    manage_cgroups_mode: Option<CgroupsModeArg>,
    /// Leave this namespace empty (repeatable)
    #[arg(long, value_enum, value_name = "NS")]
    empty_ns: Vec<EmptyNsArg>,
    /// Punch pages that are dumped again out of the parent's images
    #[arg(long)]
    auto_dedup: bool,
    /// CRIU's working directory, kept afterwards
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = value::absolute())]
    work_path: Option<PathBuf>,
    /// Dump only what changed since this archive, which --pre-dump made
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = value::absolute())]
    parent: Option<PathBuf>,
    /// Dump memory only, as a parent for a later export; the container goes on running
    #[arg(long)]
    pre_dump: bool,
    /// Descriptor that gets one byte when the dump is under way
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    status_fd: Option<i32>,
    /// Send memory to this page server instead of into the archive
    #[arg(long, value_name = "HOST:PORT", value_parser = value::host_port)]
    page_server: Option<String>,
}

/// A compression as `--compress` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressArg {
    Zstd,
    Gzip,
    None,
}

/// What of the root file system, as `--rootfs` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RootfsArg {
    Auto,
    Diff,
    Full,
    None,
}

impl TryFrom<ExportArgs> for ExportRequest {
    type Error = UsageError;

    fn try_from(args: ExportArgs) -> Result<Self, UsageError> {
        let timestamp = value::source_date_epoch()?;
        let adaptive = args.foreign.images.is_none() && timestamp.is_none();
        Ok(Self {
            rootfs: rootfs(&args.content, args.dump.pre_dump)?,
            files_below: args.process.files_below.clone(),
            subject: match process(&args)? {
                Some(process) => Subject::Process(process),
                None => subject(args.container, &args.foreign, args.runtime)?,
            },
            output: value::output(args.output),
            compression: compression(args.archive.compress, args.archive.level, adaptive)?,
            threads: args.archive.threads.unwrap_or_else(value::default_threads),
            with_mounts: args.content.with_mount,
            work_path: args.dump.work_path.clone(),
            parent: args.dump.parent.clone(),
            page_server: args.dump.page_server.clone(),
            status_fd: args.dump.status_fd,
            timestamp,
            dump: dump_options(args.dump),
        })
    }
}

/// The processes that are named. A container is never named by a number, nor a process by a container's name.
fn process(args: &ExportArgs) -> Result<Option<ProcessRef>, UsageError> {
    let ProcessArgs { pid, unit, files, .. } = &args.process;
    let kind: Option<RuntimeKind> = args.runtime.runtime.into();
    let process = match (pid, unit) {
        (Some(pid), _) => ProcessRef::Pid(*pid),
        (None, Some(unit)) => ProcessRef::Unit(unit.clone()),
        (None, None) if kind == Some(RuntimeKind::Process) => return Err(UsageError::ProcessByName),
        (None, None) if files.is_some() => return Err(UsageError::FilesOfContainer),
        (None, None) => return Ok(None),
    };
    if !matches!(kind, None | Some(RuntimeKind::Process)) || args.runtime.runtime_root.is_some() {
        return Err(UsageError::ProcessWithRuntime);
    }
    if !matches!(args.content.rootfs, RootfsArg::Auto | RootfsArg::None) || !args.content.with_mount.is_empty() {
        return Err(UsageError::ProcessWithRootfs);
    }
    Ok(Some(process))
}

fn subject(container: Option<String>, foreign: &ForeignArgs, runtime: RuntimeArgs) -> Result<Subject, UsageError> {
    let (kind, state_root) = super::runtime_of(runtime.runtime, runtime.runtime_root, runtime.lxcpath)?;
    match (container, &foreign.images, &foreign.bundle) {
        (_, Some(images), Some(bundle)) => Ok(Subject::Images {
            images: images.clone(),
            bundle: bundle.clone(),
            runtime: kind.ok_or(UsageError::ImagesWithoutRuntime)?,
        }),
        (container, _, _) => Ok(Subject::Container(ContainerRef {
            // The argument group has made sure of one of the two; an empty name is refused by every runtime.
            id: container.unwrap_or_default(),
            runtime: kind,
            state_root,
        })),
    }
}

/// Nothing waits for a dump that is there already, and who sets the time wants the same bytes again.
pub(super) fn compression(
    compress: CompressArg,
    level: Option<Level>,
    adaptive: bool,
) -> Result<Compression, UsageError> {
    let (compression, name, max) = match compress {
        CompressArg::Zstd => (Compression::ZSTD, "zstd", 19),
        CompressArg::Gzip => (Compression::GZIP, "gzip", 9),
        CompressArg::None if level.is_some() => return Err(UsageError::LevelOfNothing),
        CompressArg::None => return Ok(Compression::None),
    };
    match level {
        None if adaptive => Ok(compression.adaptive()),
        None => Ok(compression),
        Some(Level::Auto) => Ok(compression.adaptive()),
        Some(Level::Fixed(level)) => compression.with_level(level.into()).map_err(|_| UsageError::Level {
            compression: name,
            level,
            min: 1,
            max,
        }),
    }
}

/// A pre-dump takes no files: they are taken with the dump that it is the parent of.
fn rootfs(content: &ContentArgs, pre_dump: bool) -> Result<RootfsChoice, UsageError> {
    match (content.rootfs, pre_dump) {
        (RootfsArg::Diff | RootfsArg::Full, true) => Err(UsageError::PreDumpWithFiles),
        (_, true) if !content.with_mount.is_empty() => Err(UsageError::PreDumpWithFiles),
        (_, true) | (RootfsArg::None, false) => Ok(RootfsChoice::None),
        (RootfsArg::Auto, false) => Ok(RootfsChoice::Auto),
        (RootfsArg::Diff, false) => Ok(RootfsChoice::Diff),
        (RootfsArg::Full, false) => Ok(RootfsChoice::Full),
    }
}

fn dump_options(args: DumpArgs) -> DumpOptions {
    DumpOptions {
        leave_running: args.leave_running,
        tcp_established: args.tcp_established,
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        ext_unix_sk: args.ext_unix_sk,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        link_remap: args.link_remap,
        manage_cgroups_mode: args.manage_cgroups_mode.map(String::from),
        empty_ns: args.empty_ns.into_iter().map(String::from).collect(),
        pre_dump: args.pre_dump,
        auto_dedup: args.auto_dedup,
        page_server: args.page_server.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;
    use crate::request::Output;
    use crate::request::RuntimeKind;

    fn parse(line: &str) -> Result<ExportArgs, clap::Error> {
        let words = ["ckpt", "export"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Export(args) => Ok(*args),
            other => panic!("not an export: {other:?}"),
        }
    }

    fn request(line: &str) -> Result<ExportRequest, UsageError> {
        ExportRequest::try_from(parse(line).unwrap())
    }

    #[test]
    fn defaults() {
        let request = request("web -o web.ckpt").unwrap();
        let subject = ContainerRef {
            id: "web".into(),
            runtime: None,
            state_root: None,
        };
        assert_eq!(request.subject, Subject::Container(subject));
        assert_eq!(request.output, Output::File("web.ckpt".into()));
        assert_eq!(request.compression, Compression::ZSTD.adaptive());
        assert_eq!(request.rootfs, RootfsChoice::Auto);
        assert_eq!(request.dump, DumpOptions::default());
        assert!(request.threads.get() >= 1);
    }

    #[test]
    fn every_switch_of_criu_reaches_the_request() {
        let line = "web -o - -R --tcp-established --tcp-skip-in-flight --ext-unix-sk --shell-job --file-locks \
                    --link-remap --manage-cgroups-mode ignore --empty-ns network --auto-dedup --work-path /w \
                    --parent /p.ckpt --pre-dump --status-fd 3 --page-server b:4000";
        let request = request(line).unwrap();
        assert_eq!(request.output, Output::Stdout);
        let want = DumpOptions {
            leave_running: true,
            tcp_established: true,
            tcp_skip_in_flight: true,
            ext_unix_sk: true,
            shell_job: true,
            file_locks: true,
            link_remap: true,
            manage_cgroups_mode: Some("ignore".into()),
            empty_ns: vec!["network".into()],
            pre_dump: true,
            auto_dedup: true,
            page_server: true,
        };
        assert_eq!(request.dump, want);
        assert_eq!(request.rootfs, RootfsChoice::None);
        assert_eq!(request.work_path, Some("/w".into()));
        assert_eq!(request.parent, Some("/p.ckpt".into()));
        assert_eq!(request.status_fd, Some(3));
        assert_eq!(request.page_server.as_deref(), Some("b:4000"));
    }

    #[test]
    fn compressions() {
        let fixed = |compression: Compression, level| compression.with_level(level).unwrap();
        let cases = [
            ("web -o f -c none", Ok(Compression::None)),
            ("web -o f -c gzip", Ok(Compression::GZIP.adaptive())),
            ("web -o f --compress gzip --level 9", Ok(fixed(Compression::GZIP, 9))),
            ("web -o f --level 19", Ok(fixed(Compression::ZSTD, 19))),
            ("web -o f --level 3", Ok(Compression::ZSTD)),
            ("web -o f --level auto", Ok(Compression::ZSTD.adaptive())),
            ("--images /i --bundle /b --runtime runc -o f", Ok(Compression::ZSTD)),
            (
                "--images /i --bundle /b --runtime runc -o f --level auto",
                Ok(Compression::ZSTD.adaptive()),
            ),
            ("web -o f -c none --level auto", Err(UsageError::LevelOfNothing)),
            (
                "web -o f --level 20",
                Err(UsageError::Level {
                    compression: "zstd",
                    level: 20,
                    min: 1,
                    max: 19,
                }),
            ),
            (
                "web -o f -c gzip --level -1",
                Err(UsageError::Level {
                    compression: "gzip",
                    level: -1,
                    min: 1,
                    max: 9,
                }),
            ),
            ("web -o f -c none --level 1", Err(UsageError::LevelOfNothing)),
        ];
        for (line, want) in cases {
            assert_eq!(request(line).map(|request| request.compression), want, "{line}");
        }
    }

    #[test]
    fn a_dump_of_somebody_else_names_its_runtime() {
        let request_of = |line| request(line).map(|request| request.subject);
        let want = Subject::Images {
            images: "/i".into(),
            bundle: "/b".into(),
            runtime: RuntimeKind::Crun,
        };
        assert_eq!(request_of("--images /i --bundle /b --runtime crun -o f"), Ok(want));
        assert_eq!(
            request_of("--images /i --bundle /b -o f"),
            Err(UsageError::ImagesWithoutRuntime)
        );
    }

    #[test]
    fn a_pre_dump_takes_no_files() {
        assert_eq!(
            request("w -o f --pre-dump --rootfs full").unwrap_err(),
            UsageError::PreDumpWithFiles
        );
        assert_eq!(
            request("w -o f --pre-dump --with-mount /d").unwrap_err(),
            UsageError::PreDumpWithFiles
        );
        assert_eq!(
            request("w -o f --pre-dump --rootfs none").unwrap().rootfs,
            RootfsChoice::None
        );
    }

    #[test]
    fn what_the_parser_refuses() {
        let wrong = [
            "",
            "web",
            "-o f",
            "web -o f --images /i --bundle /b",
            "--images /i -o f",
            "--bundle /b web -o f",
            "a/b -o f",
            "web -o f --rootfs some",
            "web -o f --status-fd 1",
            "web -o f --page-server b",
            "web -o f --with-mount data",
            "web -o f --threads 0",
            "web -o f --level fast",
            "web -o f --empty-ns pid",
            "--images /i --bundle /b --runtime runc -o f --pre-dump",
        ];
        for line in wrong {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
