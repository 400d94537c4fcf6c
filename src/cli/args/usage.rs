//! What can be wrong with a command line beyond what the argument parser finds by itself.

/// A command line that cannot be carried out as it stands. Always exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A name no runtime accepts.
    #[error("a container's name is made of letters, digits, '_', '+', '-' and '.', and does not begin with '-'")]
    Name,
    /// A path inside the container that is not one.
    #[error("a path inside the container begins with '/' and has no '..'")]
    Destination,
    /// Not `DST=SRC`.
    #[error(
        "expected DST=SRC, both absolute paths: where it is in the container, and where it comes from on this host"
    )]
    MapMount,
    /// Not `HOST:PORT`.
    #[error("expected HOST:PORT (an IPv6 address in brackets: [fe80::1]:4000)")]
    HostPort,
    /// Not a cgroup path.
    #[error("a cgroup is a path below the root of the hierarchy, without '..'")]
    Cgroup,
    /// Not a path at all.
    #[error("expected new, host, or the path of a network namespace")]
    Netns,
    /// Not a time.
    #[error("SOURCE_DATE_EPOCH must be a number of seconds since 1970")]
    SourceDateEpoch,
    /// Not a number of threads.
    #[error("expected a number from 1 to {max}", max = super::value::MAX_THREADS)]
    Threads,
    /// Not a level.
    #[error("expected a number, or auto")]
    NotALevel,
    /// A level that the compression does not have.
    #[error("{compression} has levels {min} to {max}, not {level}")]
    Level {
        /// The compression.
        compression: &'static str,
        /// What was asked for.
        level: i32,
        /// The lowest level.
        min: i32,
        /// The highest level.
        max: i32,
    },
    /// A level where nothing is compressed.
    #[error("--level has no meaning with --compress none")]
    LevelOfNothing,
    /// Somebody else's dump, without saying whose.
    #[error("--images needs --runtime runc, crun or lxc: their images cannot be exchanged")]
    ImagesWithoutRuntime,
    /// A process is no container.
    #[error("--runtime process needs --pid or --unit: a process has no container's name")]
    ProcessByName,
    /// A process has no runtime.
    #[error("--pid and --unit name processes, which no container runtime runs: leave out --runtime and --runtime-root")]
    ProcessWithRuntime,
    /// A process has no root file system of its own.
    #[error("--rootfs and --with-mount are for containers; --files open --files-below DIR takes files of processes")]
    ProcessWithRootfs,
    /// A container's files are taken otherwise.
    #[error("--files is for processes (--pid, --unit); --rootfs and --with-mount take files of containers")]
    FilesOfContainer,
    /// A pre-dump holds no files.
    #[error("--pre-dump takes memory only: leave out --rootfs and --with-mount, or dump without --pre-dump")]
    PreDumpWithFiles,
    /// The same destination twice.
    #[error("--map-mount is given twice for {destination}")]
    MappedTwice {
        /// Where it is in the container.
        destination: String,
    },
    /// Not `KEY=VALUE`.
    #[error("expected KEY=VALUE, neither of them empty")]
    Assignment,
    /// Not two paths.
    #[error("expected PATH=PATH, both absolute: the one that the archive names, and the one on this host")]
    PathMap,
    /// A directory of LXC's containers for another runtime.
    #[error("--lxcpath is for --runtime lxc")]
    LxcPathOfOther,
    /// Another runtime is allowed, but none is named.
    #[error("--allow-other-runtime needs --runtime runc or --runtime crun")]
    OtherRuntimeWithoutName,
    /// Switches that another runtime does not know.
    #[error("--publish, --ignore-static-ip, --ignore-static-mac, --pod and --ignore-volumes are for --runtime podman")]
    OnlyForPodman,
    /// Files are to be taken as they are, and nobody says which.
    #[error("--ignore-rootfs needs --root DIR, the files to use, or --runtime podman, which takes them from the image")]
    IgnoredRootfsWithoutRoot,
    /// An archive would be printed.
    #[error("the archive would be printed on the terminal: redirect standard output, or name a file with --output")]
    OutputIsTerminal,
    /// No archive is named.
    #[error("name the archive, or - for standard input")]
    NoArchive,
    /// An archive would be typed.
    #[error("the archive would be read from the terminal: redirect standard input, or name a file")]
    InputIsTerminal,
}
