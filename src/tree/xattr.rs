//! Extended attributes: which travel, and how they are read and written.
//!
//! What belongs to the file travels: `user.*`, `trusted.*`, POSIX ACLs and file capabilities. What belongs to the host does
//! not: labels of its security modules name policies and categories that another host does not have.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

use super::limits;
use super::meta::Xattrs;

/// What becomes of an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travels {
    /// It is packed and restored.
    Yes,
    /// It is the host's: left out when packing, ignored when unpacking.
    HostLabel,
    /// Of no namespace that is known here: left out when packing, refused when unpacking.
    Unknown,
}

/// Security modules' labels, and measurements made with the host's keys.
const HOST_LABELS: [&[u8]; 6] = [
    b"security.selinux",
    b"security.apparmor",
    b"security.ima",
    b"security.evm",
    b"security.sehash",
    b"security.SMACK64",
];

/// Whether an attribute of this name travels.
pub(crate) fn travels(name: &[u8]) -> Travels {
    const WHOLE: [&[u8]; 3] = [
        b"security.capability",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    ];
    let prefixed = |prefix: &[u8]| name.len() > prefix.len() && name.starts_with(prefix);
    if prefixed(b"user.") || prefixed(b"trusted.") || WHOLE.contains(&name) {
        Travels::Yes
    } else if HOST_LABELS.contains(&name) || prefixed(b"security.SMACK64") {
        Travels::HostLabel
    } else {
        Travels::Unknown
    }
}

/// An object whose attributes are meant.
#[derive(Clone, Copy)]
pub(crate) enum Object<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in an open directory, itself and not what it points to. For objects that cannot be opened for the purpose:
    /// symbolic links, devices, FIFOs. Reached through `/proc/self/fd`, as `getxattrat` is too new to count on.
    Named(BorrowedFd<'a>, &'a CStr),
}

impl Object<'_> {
    /// Path of a named object for the `l*xattr` calls: the directory is a magic link to the descriptor, only the last
    /// component is looked up, and not followed.
    fn path(dir: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        path
    }

    fn list(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => fs::flistxattr(fd, buffer),
            Self::Named(dir, name) => fs::llistxattr(Self::path(dir, name), buffer),
        }
    }

    fn get(self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => fs::fgetxattr(fd, name, buffer),
            Self::Named(dir, file) => fs::lgetxattr(Self::path(dir, file), name, buffer),
        }
    }

    fn set(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(dir, file) => fs::lsetxattr(Self::path(dir, file), name, value, XattrFlags::empty()),
        }
    }

    fn remove(self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fs::fremovexattr(fd, name),
            Self::Named(dir, file) => fs::lremovexattr(Self::path(dir, file), name),
        }
    }
}

/// Names of the attributes of an object; none where the file system has no attributes.
fn names(object: Object<'_>) -> Result<Vec<CString>, Errno> {
    let mut buffer = vec![0; 1024];
    let len = loop {
        match object.list(&mut buffer) {
            Ok(len) => break len,
            Err(Errno::RANGE) if buffer.len() < limits::XATTR_VALUE_MAX => buffer.resize(limits::XATTR_VALUE_MAX, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        }
    };
    Ok(buffer[..len]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect())
}

/// Value of one attribute; none where it does not exist.
pub(crate) fn get(object: Object<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match object.get(name, &mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) if buffer.len() < limits::XATTR_VALUE_MAX => buffer.resize(limits::XATTR_VALUE_MAX, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}

/// Reads the attributes that travel; the names of those of unknown namespaces go to `left_out`.
pub(crate) fn read(object: Object<'_>, mut left_out: impl FnMut(&[u8])) -> Result<Xattrs, Errno> {
    let mut xattrs = Xattrs::new();
    for name in names(object)? {
        let name = name.into_bytes();
        match travels(&name) {
            Travels::Yes => {}
            Travels::HostLabel => continue,
            Travels::Unknown => {
                left_out(&name);
                continue;
            }
        }
        // One that went away between the two calls is no error.
        if let Some(value) = get(object, &name)? {
            xattrs.insert(name, value);
        }
    }
    Ok(xattrs)
}

/// Makes the attributes that travel exactly `wanted`: those that an object got by itself (a default ACL of its directory)
/// or had before are removed. Names the attribute that failed.
pub(crate) fn replace(object: Object<'_>, wanted: &Xattrs) -> Result<(), (Vec<u8>, io::Error)> {
    let present = names(object).map_err(|e| (b"*".to_vec(), e.into()))?;
    for name in present.iter().map(|name| name.to_bytes()) {
        if travels(name) == Travels::Yes && !wanted.contains_key(name) {
            object.remove(name).map_err(|e| (name.to_vec(), e.into()))?;
        }
    }
    for (name, value) in wanted {
        object.set(name, value).map_err(|e| (name.clone(), e.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn namespaces() {
        for (name, expected) in [
            ("user.x", Travels::Yes),
            ("user.", Travels::Unknown),
            ("trusted.overlay.opaque", Travels::Yes),
            ("security.capability", Travels::Yes),
            ("security.capability2", Travels::Unknown),
            ("system.posix_acl_default", Travels::Yes),
            ("security.selinux", Travels::HostLabel),
            ("security.SMACK64EXEC", Travels::HostLabel),
            ("system.nfs4_acl", Travels::Unknown),
            ("btrfs.compression", Travels::Unknown),
        ] {
            assert_eq!(travels(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn replace_leaves_exactly_what_is_wanted() {
        let file = tempfile::tempfile().unwrap();
        let object = Object::Open(file.as_fd());
        let first = Xattrs::from([(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), vec![0; 3000])]);
        replace(object, &first).unwrap();
        assert_eq!(read(object, |_| {}).unwrap(), first);
        let second = Xattrs::from([(b"user.b".to_vec(), b"".to_vec())]);
        replace(object, &second).unwrap();
        assert_eq!(read(object, |_| {}).unwrap(), second);
    }
}
