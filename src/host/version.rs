//! Versions of programs and kernels, ordered.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version: three numbers, and whether it comes before its release (`-rc1`, `~rc1`, `-dev`).
///
/// What distributions add to a version (`1.1.15+ds1`, `1.1.12-0ubuntu3`) and what a kernel's release ends in
/// (`6.12.1-amd64`) says nothing of order and is left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    numbers: [u32; 3],
    /// What comes before the release, in lower case: `rc1`.
    before: Option<String>,
}

/// A text without a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no version number")]
pub struct NoVersion;

impl Version {
    /// The release of these numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            numbers: [major, minor, patch],
            before: None,
        }
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Reads `MAJOR.MINOR[.PATCH]` at the start of a text, after an optional `v`.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let mut parts = digits.trim_end_matches('.').split('.').map(str::parse);
        let mut numbers = [0; 3];
        for (index, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(Ok(part)) => *number = part,
                None if index >= 2 => {}
                Some(Err(_)) | None => return Err(NoVersion),
            }
        }
        Ok(Self {
            numbers,
            before: before_release(rest),
        })
    }
}

/// The mark of a version before its release at the start of what follows the numbers.
fn before_release(rest: &str) -> Option<String> {
    let mark = rest.trim_start_matches(['-', '~', '+', '_', '.']);
    let end = mark
        .find(|c: char| c != '.' && !c.is_ascii_alphanumeric())
        .unwrap_or(mark.len());
    let mark = mark[..end].to_ascii_lowercase();
    // `+dev` is what runc calls the way to the release after this one; only `-dev` and `~dev` come before.
    let dev = mark.starts_with("dev") && !rest.starts_with('+');
    let before = dev || ["rc", "alpha", "beta", "pre"].iter().any(|word| mark.starts_with(word));
    before.then_some(mark)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let marks = || match (&self.before, &other.before) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(own), Some(others)) => numbered(own).cmp(&numbered(others)),
        };
        self.numbers.cmp(&other.numbers).then_with(marks)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A mark in parts that compare as people count: rc9 before rc10. Ends with the mark itself, so that only equal ones are
/// equal.
fn numbered(mark: &str) -> (&str, u32, &str) {
    let digits = mark.find(|c: char| c.is_ascii_digit()).unwrap_or(mark.len());
    let (word, rest) = mark.split_at(digits);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..end].parse().unwrap_or(0);
    (word.trim_end_matches('.'), number, mark)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}")?;
        if patch > 0 {
            write!(f, ".{patch}")?;
        }
        self.before.iter().try_for_each(|mark| write!(f, "-{mark}"))
    }
}

/// The version of a CRIU, from what `criu --version` prints.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CriuVersion {
    /// The release; a development build bears that of the one before it.
    pub version: Version,
    /// What `git describe` said when it was built, where it is not just the release.
    pub git_id: Option<String>,
}

impl FromStr for CriuVersion {
    type Err = NoVersion;

    /// Reads the output of `criu --version`, or a version alone as a manifest may hold it.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .map(str::trim)
        };
        let number = value("Version:").unwrap_or(text);
        let (number, inline) = number.split_once(" (").unwrap_or((number, ""));
        let version: Version = number.parse()?;
        let git_id = value("GitID:").unwrap_or(inline.trim_end_matches(')'));
        // 0 stands for a build outside of git.
        let says_more = !matches!(git_id, "" | "0") && git_id.trim_start_matches('v') != number.trim();
        Ok(Self {
            version,
            git_id: says_more.then(|| git_id.to_owned()),
        })
    }
}

impl fmt::Display for CriuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        self.git_id.iter().try_for_each(|id| write!(f, " ({id})"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("4.2", "4.2"),
            ("v4.1.1", "4.1.1"),
            ("1.1.15+ds1", "1.1.15"),
            ("1.1.12-0ubuntu3.1", "1.1.12"),
            ("1.0.0-rc93", "1.0-rc93"),
            ("1.4.0~RC.2", "1.4-rc.2"),
            ("1.2.0+dev", "1.2"),
            ("1.21.0.0.0.3-6c09", "1.21"),
            ("6.18.44-fc-v657", "6.18.44"),
            ("6.19.0-rc1-amd64", "6.19-rc1"),
            ("5.15.0-105-generic", "5.15"),
            (" 1.21\n", "1.21"),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                text.parse::<Version>().map(|version| version.to_string()),
                Ok(wanted.to_owned()),
                "{text}"
            );
        }
        for text in ["", "4", "x4.2", ".4.2", "4..2", "99999999999.1", "unknown", "-4.2"] {
            assert_eq!(text.parse::<Version>(), Err(NoVersion), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered() {
        let rising = [
            "1.0.0-rc9",
            "1.0.0-rc10",
            "1.0.0",
            "1.0.1",
            "1.1.15+ds1",
            "1.2.0-rc.1",
            "1.2.0-rc.2",
            "1.2",
            "1.10",
            "3.17.1",
            "4.1",
            "4.1.1",
            "4.2-dev",
            "4.2",
            "4.2.1",
            "6.16.0-rc1",
            "6.16",
        ];
        let versions: Vec<Version> = rising.iter().map(|text| text.parse().unwrap()).collect();
        for (index, version) in versions.iter().enumerate() {
            for (other_index, other) in versions.iter().enumerate() {
                assert_eq!(version.cmp(other), index.cmp(&other_index), "{version} {other}");
            }
        }
        assert_eq!(Version::new(4, 2, 0), "4.2.0".parse().unwrap());
    }

    #[test]
    fn criu_says_its_version() {
        let cases = [
            ("Version: 4.1.1\nGitID: v4.1.1\n", "4.1.1"),
            ("Version: 4.2\nGitID: v4.2-15-gabcdef0\n", "4.2 (v4.2-15-gabcdef0)"),
            ("Version: 3.17.1\nGitID: 0\n", "3.17.1"),
            ("Version: 4.2.1\n", "4.2.1"),
            ("4.1.1", "4.1.1"),
            ("4.2 (v4.2-15-gabcdef0)", "4.2 (v4.2-15-gabcdef0)"),
        ];
        for (text, wanted) in cases {
            let version: CriuVersion = text.parse().unwrap();
            assert_eq!(version.to_string(), wanted, "{text}");
            assert_eq!(version.to_string().parse::<CriuVersion>().unwrap(), version);
        }
        assert_eq!("GitID: v4.2".parse::<CriuVersion>(), Err(NoVersion));
    }

    proptest! {
        #[test]
        fn reading_and_order_are_total(a in "[v]?[0-9]{0,3}[.]?[0-9]{0,3}[-~+.]?[a-z0-9.]{0,5}", b in "[0-9][.][0-9]([-](rc|dev)[.]?[0-9]{0,2})?") {
            if let (Ok(a), Ok(b)) = (a.parse::<Version>(), b.parse::<Version>()) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
                prop_assert_eq!(&a.to_string().parse::<Version>().unwrap(), &a);
            }
        }
    }
}
