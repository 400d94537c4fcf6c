//! What a rewrite changes, needs and remarks.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::lxc::Fstab;

/// The file that a line is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum File {
    /// The container's configuration.
    Config,
    /// The file that its `lxc.mount.fstab` names.
    Fstab,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Fstab => "fstab",
        })
    }
}

/// One changed line. `Display` shows it before and after, as `--dry-run` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// The file.
    pub file: File,
    /// Number of the line in the old text, from 1; a new line has that of the line it comes after, 0 before all.
    pub line: usize,
    /// The line before; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The line after; absent for one that is taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        for (sign, line) in [('-', &self.before), ('+', &self.after)] {
            if let Some(line) = line {
                // A control character must not pass for another line of the list.
                let spell = |letter: char| match letter.is_control() && letter != '\t' {
                    true => letter.escape_default().to_string(),
                    false => letter.to_string(),
                };
                write!(f, "\n  {sign} {}", line.chars().map(spell).collect::<String>())?;
            }
        }
        Ok(())
    }
}

/// The lines of an fstab that differ; none is ever added or taken away.
pub(super) fn of_fstab(before: &Fstab, after: &Fstab) -> Vec<Change> {
    let lines = before
        .entries()
        .map(|(index, _)| (index, before.line(index), after.line(index)));
    let changed = lines.filter(|(_, before, after)| before != after);
    changed
        .map(|(index, before, after)| Change {
            file: File::Fstab,
            line: index + 1,
            before: Some(before),
            after: Some(after),
        })
        .collect()
}

/// What the configuration takes for granted on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A path that must be there.
    Path(String),
    /// A directory that must be there, for a file that is written into it.
    DirectoryOf(String),
    /// An interface that must be there: what a macvlan is stacked on.
    Interface {
        /// Its name.
        name: String,
        /// The container's interface that needs it.
        inside: String,
    },
    /// A bridge that must be there.
    Bridge {
        /// Its name.
        name: String,
        /// The container's interface that needs it.
        inside: String,
    },
    /// The file system in which CRIU looks for AppArmor.
    SecurityFs,
    /// The name of an interface that must be free.
    FreeInterface {
        /// The name.
        name: String,
        /// The container's interface whose other end gets it.
        inside: String,
    },
}

/// What the importer should know though it stops nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// The restored processes keep the identifiers they had.
    IdMapLater,
    /// The restored interfaces keep the addresses they had.
    AddressesLater,
    /// The running container keeps its hostname.
    HostnameLater,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::IdMapLater => "the new identifier maps count",
            Self::AddressesLater => "the new addresses of interfaces count",
            Self::HostnameLater => "the new hostname counts",
        };
        write!(f, "{what} from the next start on; what is restored goes on as it was")
    }
}
