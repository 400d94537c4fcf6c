//! A plan made to hold: every value is written and read back.
//!
//! One failed write does not stop the others: a container with most of its limits is better than one with none, and the
//! caller decides. Whatever does not hold at the end is in the report. What holds already is not written: the kernel
//! refuses some files even their own value (memory.kmem.limit_in_bytes).

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::directory::Directory;
use super::plan::{ApplyPlan, Place, Step, Write};
use super::record::Owner;

/// What a plan has come to.
#[derive(Debug, Default)]
pub struct Report {
    /// The cgroups that were made, parents first.
    pub created: Vec<PathBuf>,
    /// How many values were written.
    pub written: usize,
    /// How many values held already, or need no file because nobody had set them.
    pub unchanged: usize,
    /// What does not hold.
    pub problems: Vec<Problem>,
}

/// Something that does not hold though it was planned.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot set {wanted:?}", path.display())]
pub struct Problem {
    /// The file or cgroup.
    pub path: PathBuf,
    /// The value that it should have.
    pub wanted: String,
    /// Why it has not.
    pub source: Cause,
}

/// Why a value does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// There is no such file: the controller is not enabled, or the kernel lacks it.
    #[error("this host's kernel has no such file there")]
    Missing,
    /// The kernel refused.
    #[error(transparent)]
    Refused(io::Error),
    /// The kernel accepted the value, and it reads otherwise.
    #[error("it reads {found:?}")]
    Differs {
        /// What it reads.
        found: String,
    },
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::Refused(error)
        }
    }
}

/// Carries a plan out.
///
/// A second pass tries again what failed in the first: when limits depend on each other (memory and memory with swap, a
/// period and its quota), the order that is right for lowering them is wrong for raising them.
#[must_use = "the report says which limits do not hold"]
pub fn apply(plan: &ApplyPlan) -> Report {
    let mut report = Report::default();
    let failed: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| report.carry_out(step).is_err())
        .collect();
    for step in failed {
        if let Err(problem) = report.carry_out(step) {
            report.problems.push(problem);
        }
    }
    report
}

impl Report {
    fn carry_out(&mut self, step: &Step) -> Result<(), Problem> {
        let (path, wanted, result) = match step {
            Step::Create { place } => (place.path(), String::new(), self.create(place)),
            Step::InheritCpuset { place } => (place.path(), "the parent's cpuset".to_owned(), inherit_cpuset(place)),
            Step::Write(write) => (
                write.place.path().join(&write.file),
                write.value.clone(),
                self.write(write),
            ),
            Step::DeviceRules { place, rules } => (
                place.path().join("devices.list"),
                rules.join(", "),
                device_rules(place, rules),
            ),
            Step::Own { place, file, owner } => {
                let path = place.path().join(file.as_deref().unwrap_or_default());
                (
                    path,
                    format!("{}:{} {}", owner.uid, owner.gid, owner.mode),
                    own(place, file.as_deref(), owner),
                )
            }
        };
        result.map_err(|source| Problem { path, wanted, source })
    }

    fn create(&mut self, place: &Place) -> Result<(), Cause> {
        let mut here = Directory::open_host(&place.directory)?;
        let mut path = place.directory.clone();
        for name in place.group.names() {
            path.push(name);
            if here.create(name)? {
                self.created.push(path.clone());
            }
            here = here.below(name)?;
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), Cause> {
        let directory = Directory::open(&write.place)?;
        let holds = |content: &str| write.expect.holds(&write.value, content);
        if directory.read(&write.file).is_ok_and(|content| holds(&content)) {
            self.unchanged += 1;
            return Ok(());
        }
        match directory.write(&write.file, &write.value) {
            // A kernel without the limit limits as little as one where nobody has set it.
            Err(error) if write.usual && error.kind() == io::ErrorKind::NotFound => {
                self.unchanged += 1;
                return Ok(());
            }
            result => result?,
        }
        let found = directory.read(&write.file)?;
        if !holds(&found) {
            return Err(Cause::Differs {
                found: found.trim_end().to_owned(),
            });
        }
        self.written += 1;
        Ok(())
    }
}

fn inherit_cpuset(place: &Place) -> Result<(), Cause> {
    let directory = Directory::open(place)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if directory.read(file)?.trim().is_empty() {
            let above = match place.group.parent() {
                Some(group) => Directory::open(&Place {
                    directory: place.directory.clone(),
                    group,
                })?,
                None => Directory::open_host(&place.directory.join(".."))?,
            };
            directory.write(file, above.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Makes the rules equal: first what must go, then what must come. A cgroup that allows everything has one rule for that,
/// and denying it empties the list.
fn device_rules(place: &Place, rules: &[String]) -> Result<(), Cause> {
    let directory = Directory::open(place)?;
    let list = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<BTreeSet<_>>();
    let wanted: BTreeSet<_> = rules.iter().cloned().collect();
    let found = list(&directory.read("devices.list")?);
    for rule in found.difference(&wanted) {
        directory.write("devices.deny", rule)?;
    }
    for rule in wanted.difference(&found) {
        directory.write("devices.allow", rule)?;
    }
    let found = directory.read("devices.list")?;
    if list(&found) == wanted {
        Ok(())
    } else {
        Err(Cause::Differs {
            found: found.trim_end().to_owned(),
        })
    }
}

fn own(place: &Place, file: Option<&str>, owner: &Owner) -> Result<(), Cause> {
    let mode = owner
        .permissions()
        .ok_or(Cause::Refused(io::ErrorKind::InvalidInput.into()))?;
    Ok(Directory::open(place)?.own(file, owner.uid, owner.gid, mode)?)
}
