//! The messages of CRIU's RPC protocol, as far as ckpt sends and reads them.
//!
//! Field numbers are those of CRIU's `images/rpc.proto`, whose numbers never change their meaning. What ckpt does not use is
//! not declared: absent fields are not sent, and unknown ones in an answer are skipped.

use prost::Message;

/// `criu_req_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// An answer to something that was not understood.
    Empty = 0,
    /// Dumps a process tree.
    Dump = 1,
    /// Restores one.
    Restore = 2,
    /// Whether CRIU works with this kernel.
    Check = 3,
    /// Dumps memory only, in a series that ends with a dump.
    PreDump = 4,
    /// Starts a page server.
    PageServer = 5,
    /// CRIU asks at a step of a dump or restore, and is answered.
    Notify = 6,
    /// Writes `cpuinfo.img`.
    CpuinfoDump = 7,
    /// Whether this processor can run what was dumped on that of `cpuinfo.img`.
    CpuinfoCheck = 8,
    /// Which features this kernel has.
    FeatureCheck = 9,
    /// CRIU's version.
    Version = 10,
    /// Waits for a process.
    WaitPid = 11,
    /// A page server that is the caller's child.
    PageServerChild = 12,
    /// Dumps memory only, once.
    SinglePreDump = 13,
}

impl Kind {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "the empty request",
            Self::Dump => "to dump",
            Self::Restore => "to restore",
            Self::Check => "the check",
            Self::PreDump | Self::SinglePreDump => "to pre-dump",
            Self::PageServer | Self::PageServerChild => "to serve pages",
            Self::Notify => "to notify",
            Self::CpuinfoDump => "to describe the processor",
            Self::CpuinfoCheck => "the check of the processor",
            Self::FeatureCheck => "the check of features",
            Self::Version => "to tell its version",
            Self::WaitPid => "to wait",
        }
    }
}

/// `criu_cg_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum CgroupMode {
    /// Cgroups are not touched.
    Ignore = 0,
    /// Nothing but the paths.
    None = 1,
    /// Properties of cgroups that are there.
    Props = 2,
    /// Properties of those that were missing.
    Soft = 3,
    /// Everything.
    Full = 4,
    /// Everything, and none of it there before.
    Strict = 5,
    /// CRIU's choice, which is soft.
    Default = 6,
}

/// `criu_req`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// What is asked.
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub kind: i32,
    /// How it is to be done.
    #[prost(message, optional, tag = "2")]
    pub options: Option<Options>,
    /// The answer to a notification.
    #[prost(bool, optional, tag = "3")]
    pub notify_success: Option<bool>,
    /// Another request follows.
    #[prost(bool, optional, tag = "4")]
    pub keep_open: Option<bool>,
    /// The features that are asked about.
    #[prost(message, optional, tag = "5")]
    pub features: Option<Features>,
}

/// `criu_opts`.
#[derive(Clone, PartialEq, Message)]
pub struct Options {
    /// Descriptor of the images directory; -1 where [`Options::images_dir`] names it.
    #[prost(int32, required, tag = "1")]
    pub images_dir_fd: i32,
    /// The root of the tree.
    #[prost(int32, optional, tag = "2")]
    pub pid: Option<i32>,
    /// The tree runs on after the dump.
    #[prost(bool, optional, tag = "3")]
    pub leave_running: Option<bool>,
    /// Unix sockets may have an end outside the tree.
    #[prost(bool, optional, tag = "4")]
    pub ext_unix_sk: Option<bool>,
    /// Established TCP connections are dumped and restored.
    #[prost(bool, optional, tag = "5")]
    pub tcp_established: Option<bool>,
    /// The tree's terminal and session are those of somebody else.
    #[prost(bool, optional, tag = "7")]
    pub shell_job: Option<bool>,
    /// File locks are dumped and restored.
    #[prost(bool, optional, tag = "8")]
    pub file_locks: Option<bool>,
    /// 1 errors, 2 warnings, 3 what is done, 4 everything.
    #[prost(int32, optional, tag = "9")]
    pub log_level: Option<i32>,
    /// The log, a name in the working directory.
    #[prost(string, optional, tag = "10")]
    pub log_file: Option<String>,
    /// The page server that takes the memory.
    #[prost(message, optional, tag = "11")]
    pub page_server: Option<PageServer>,
    /// CRIU sends [`Kind::Notify`] at every step.
    #[prost(bool, optional, tag = "12")]
    pub notify_scripts: Option<bool>,
    /// The parent's images, relative to the images directory.
    #[prost(string, optional, tag = "14")]
    pub parent_img: Option<String>,
    /// Changes of memory are tracked for a later dump.
    #[prost(bool, optional, tag = "15")]
    pub track_mem: Option<bool>,
    /// Pages that are in later images are punched out of earlier ones.
    #[prost(bool, optional, tag = "16")]
    pub auto_dedup: Option<bool>,
    /// Deleted files that are open are linked back.
    #[prost(bool, optional, tag = "18")]
    pub link_remap: Option<bool>,
    /// What of the processor has to be the same; see [`Options::CPU`].
    #[prost(uint32, optional, tag = "20")]
    pub cpu_cap: Option<u32>,
    /// Descriptors that take the place of files or sockets.
    #[prost(message, repeated, tag = "27")]
    pub inherit_fd: Vec<InheritFd>,
    /// How cgroups are treated.
    #[prost(enumeration = "CgroupMode", optional, tag = "34")]
    pub manage_cgroups_mode: Option<i32>,
    /// External resources.
    #[prost(string, repeated, tag = "37")]
    pub external: Vec<String>,
    /// TCP connections that are not accepted yet are left out.
    #[prost(bool, optional, tag = "46")]
    pub tcp_skip_in_flight: Option<bool>,
    /// Memory follows when the tree runs.
    #[prost(bool, optional, tag = "48")]
    pub lazy_pages: Option<bool>,
    /// TCP connections are restored closed.
    #[prost(bool, optional, tag = "52")]
    pub tcp_close: Option<bool>,
    /// The security label of the restored tasks.
    #[prost(string, optional, tag = "53")]
    pub lsm_profile: Option<String>,
    /// The images directory.
    #[prost(string, optional, tag = "68")]
    pub images_dir: Option<String>,
}

impl Options {
    /// `cpu_cap`: the floating point state (bit 0) and the instructions (bit 2), CRIU's own choice, and (bit 3, which CRIU
    /// sets itself where the field is given) the image that says what they were.
    pub const CPU: u32 = 1 | 4;
}

/// `criu_page_server_info`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PageServer {
    /// Its address.
    #[prost(string, optional, tag = "1")]
    pub address: Option<String>,
    /// Its port.
    #[prost(int32, optional, tag = "2")]
    pub port: Option<i32>,
    /// A connection to it that CRIU inherits.
    #[prost(int32, optional, tag = "4")]
    pub fd: Option<i32>,
}

/// `inherit_fd`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InheritFd {
    /// What it takes the place of: `socket:[INODE]`.
    #[prost(string, required, tag = "1")]
    pub key: String,
    /// The descriptor, in CRIU.
    #[prost(int32, required, tag = "2")]
    pub fd: i32,
}

/// `criu_features`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Features {
    /// Changes of memory can be tracked.
    #[prost(bool, optional, tag = "1")]
    pub mem_track: Option<bool>,
    /// Memory can be restored lazily.
    #[prost(bool, optional, tag = "2")]
    pub lazy_pages: Option<bool>,
    /// Processes can be kept from one pre-dump to the next.
    #[prost(bool, optional, tag = "3")]
    pub pidfd_store: Option<bool>,
}

/// `criu_resp`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// What it answers.
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub kind: i32,
    /// Whether that was done.
    #[prost(bool, required, tag = "2")]
    pub success: bool,
    /// After a restore.
    #[prost(message, optional, tag = "4")]
    pub restore: Option<Restored>,
    /// With [`Kind::Notify`].
    #[prost(message, optional, tag = "5")]
    pub notify: Option<Notification>,
    /// Why it was not done, an `errno`.
    #[prost(int32, optional, tag = "7")]
    pub cr_errno: Option<i32>,
    /// The features.
    #[prost(message, optional, tag = "8")]
    pub features: Option<Features>,
    /// Why it was not done: the first error of CRIU's log.
    #[prost(string, optional, tag = "9")]
    pub cr_errmsg: Option<String>,
    /// The version.
    #[prost(message, optional, tag = "10")]
    pub version: Option<Version>,
}

/// `criu_restore_resp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Restored {
    /// The root of the restored tree, in CRIU's PID namespace.
    #[prost(int32, required, tag = "1")]
    pub pid: i32,
}

/// `criu_notify`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Notification {
    /// The step: `post-dump`, `post-restore`, …
    #[prost(string, optional, tag = "1")]
    pub script: Option<String>,
    /// The root of the tree.
    #[prost(int32, optional, tag = "2")]
    pub pid: Option<i32>,
}

/// `criu_version`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Version {
    /// The first number.
    #[prost(int32, required, tag = "1")]
    pub major_number: i32,
    /// The second.
    #[prost(int32, required, tag = "2")]
    pub minor_number: i32,
    /// The commit it was built from.
    #[prost(string, optional, tag = "3")]
    pub gitid: Option<String>,
    /// The third number.
    #[prost(int32, optional, tag = "4")]
    pub sublevel: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_of_the_protocol() {
        let request = Request {
            kind: Kind::Dump.into(),
            options: Some(Options {
                images_dir_fd: -1,
                pid: Some(5),
                shell_job: Some(true),
                images_dir: Some("/i".into()),
                ..Options::default()
            }),
            ..Request::default()
        };
        // By hand: field 1 DUMP; field 2 of 20 bytes: field 1 is -1 in ten bytes, 2 is 5, 7 is true, 68 is the path.
        let expected = [
            &[0x08, 1, 0x12, 20, 0x08][..],
            &[0xff; 9],
            &[0x01, 0x10, 5, 0x38, 1, 0xa2, 0x04, 2],
            b"/i",
        ]
        .concat();
        let encoded = request.encode_to_vec();
        assert_eq!(encoded.len(), expected.len());
        assert_eq!(encoded, expected);
    }

    #[test]
    fn an_answer_keeps_what_is_known_and_skips_the_rest() {
        // Field 1 RESTORE, 2 false, 7 EEXIST, 9 a message, 11 (status) something that is not declared.
        let bytes = [&[0x08, 2, 0x10, 0, 0x38, 17, 0x4a, 2][..], b"no", &[0x58, 9]].concat();
        let answer = Response::decode(&bytes[..]).unwrap();
        assert_eq!(
            (answer.kind(), answer.success, answer.cr_errno),
            (Kind::Restore, false, Some(17))
        );
        assert_eq!(answer.cr_errmsg.as_deref(), Some("no"));
    }
}
