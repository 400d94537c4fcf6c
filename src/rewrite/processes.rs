//! The plan of an import of plain processes: pure, like that of a container, and shorter. Nothing of the processes is changed
//! for the new host, as nothing can be: their files, numbers and addresses have to be what they were, and each that is not is
//! named before anything is touched.

mod cgroup;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::host::PathKind;
use super::layout::{Layout, Name};
use super::plan::{PLAN_VERSION, Plan, RestoreCommand, Step, Warning, switches};
use super::refusal::{ProcessRefusal, Refusal, Refusals};
use crate::capture::open_files::FILES;
use crate::manifest::Manifest;
use crate::process::{Found, Here, Listing};
use crate::request::{ImportRequest, Netns, ProcessRestore};

pub use cgroup::OwnCgroup;

/// The runtime's name in manifests and plans.
pub const RUNTIME: &str = "process";
/// Mode of the directory of images.
const PRIVATE_MODE: u32 = 0o700;

/// What the archive and the importer say.
#[derive(Debug, Clone, Copy)]
pub struct ProcessInputs<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The processes and their files.
    pub listing: &'a Listing,
    /// The request.
    pub request: &'a ImportRequest,
}

/// What is known of this host.
#[derive(Debug, Clone)]
pub struct ProcessView<'a> {
    /// What is where the images are to be.
    pub bundle: PathKind,
    /// Version of CRIU; `None` where it is not installed.
    pub criu: Option<String>,
    /// What of the listing is otherwise here.
    pub here: Here<'a>,
    /// Whether standard input is a terminal.
    pub terminal: bool,
    /// The tree's cgroup, where it has one of its own here.
    pub cgroup: Option<OwnCgroup>,
    /// Whether systemd's journal takes what services write.
    pub journal: bool,
}

/// Where the images of an import are until it is over.
#[must_use]
pub fn place(inputs: ProcessInputs<'_>) -> PathBuf {
    let (name, _) = name_of(inputs);
    let by_name = || Layout::of(&name).bundle().to_owned();
    inputs.request.bundle.clone().unwrap_or_else(by_name)
}

fn name_of(inputs: ProcessInputs<'_>) -> (Name, Option<Refusal>) {
    let wanted = inputs.request.name.as_deref().unwrap_or(&inputs.manifest.container.id);
    match Name::new(wanted) {
        Some(name) => (name, None),
        None => (
            Name::placeholder(),
            Some(Refusal::Name {
                name: wanted.to_owned(),
            }),
        ),
    }
}

/// Plans the import.
///
/// # Errors
/// Everything that stands in its way, at once.
pub fn plan(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Result<Plan, Refusals> {
    let (name, refused) = name_of(inputs);
    let layout = Layout::at(place(inputs));
    let mut refusals: Vec<Refusal> = refused.into_iter().collect();
    refusals.extend(of_request(inputs, view));
    refusals.extend(of_archive(inputs));
    refusals.extend(of_bundle(&layout, view));
    let here = of_numbers(inputs, view).into_iter().chain(of_files(inputs, view));
    refusals.extend(here.map(Refusal::Process));
    refusals.extend(cgroup::refusals(inputs, view));
    if let Some(refusals) = Refusals::collect(refusals) {
        return Err(refusals);
    }
    let manifest = inputs.manifest;
    Ok(Plan {
        version: PLAN_VERSION,
        source_id: manifest.container.id.clone(),
        made_by: format!("criu {}", manifest.runtime.version),
        checkpointed_at: manifest.checkpointed_at.clone(),
        bundle: layout.bundle().to_owned(),
        steps: steps(inputs, view, &name, &layout),
        changes: Vec::new(),
        warnings: warnings(inputs, view),
        config: Value::Null,
        lxc: None,
        name,
    })
}

/// Switches that say something of containers, and those that cannot be meant.
fn of_request(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Vec<Refusal> {
    let request = inputs.request;
    let given = [
        ("--root", request.root.is_some()),
        ("--replace", request.replace),
        ("--map-mount", !request.map_mounts.is_empty()),
        ("--console-socket", request.console_socket.is_some()),
        ("--hostname", request.hostname.is_some()),
        ("--no-pivot", request.restore.no_pivot),
        ("--empty-ns", !request.restore.empty_ns.is_empty()),
        ("--lsm-mount-context", request.restore.lsm_mount_context.is_some()),
        ("--runtime", request.runtime.is_some_and(|kind| kind.name() != RUNTIME)),
        ("--runtime-root", request.state_root.is_some()),
    ];
    let given = given.into_iter().filter(|(_, given)| *given);
    let mut refusals: Vec<Refusal> = given.map(|(flag, _)| Refusal::NotForProcesses { flag }).collect();
    if request.restore.tcp_established && request.restore.tcp_close {
        refusals.push(Refusal::TcpConflict);
    }
    let is_job = is_job(inputs);
    if is_job && request.new_pidns {
        refusals.push(ProcessRefusal::JobInNamespace.into());
    } else if is_job && !view.terminal && !request.dry_run && !request.no_restore {
        refusals.push(ProcessRefusal::NoTerminal.into());
    }
    if request.lazy && !request.new_pidns && inputs.listing.tasks.len() > 1 {
        let tasks = inputs.listing.tasks.len();
        refusals.push(ProcessRefusal::LazyTree { tasks }.into());
    }
    if view.criu.is_none() && !request.no_restore {
        refusals.push(Refusal::NoRuntime { name: "criu" });
    }
    refusals
}

fn is_job(inputs: ProcessInputs<'_>) -> bool {
    inputs.manifest.options.shell_job || inputs.request.restore.shell_job
}

fn of_archive(inputs: ProcessInputs<'_>) -> Vec<Refusal> {
    let (manifest, request) = (inputs.manifest, inputs.request);
    let mut refusals = Vec::new();
    if manifest.options.pre_dump {
        refusals.push(Refusal::PreDump);
    }
    match (manifest.options.page_server, &request.pages) {
        (true, None) => refusals.push(Refusal::PagesNeeded),
        (false, Some(_)) => refusals.push(Refusal::PagesUnused),
        _ => {}
    }
    if request.netns == Netns::Keep && manifest.namespaces.iter().any(|namespace| namespace.kind == "network") {
        refusals.push(ProcessRefusal::Netns.into());
    }
    if let (Some(digest), true) = (&manifest.parent, request.parents.is_empty()) {
        refusals.push(Refusal::ParentsNeeded { digest: digest.clone() });
    }
    refusals
}

fn of_bundle(layout: &Layout, view: &ProcessView<'_>) -> Option<Refusal> {
    let problem = match view.bundle {
        PathKind::Missing | PathKind::EmptyDirectory => return None,
        PathKind::Directory => "is not empty",
        _ => "is no directory",
    };
    let path = layout.bundle().to_owned();
    Some(Refusal::Bundle { path, problem })
}

fn of_numbers(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Vec<ProcessRefusal> {
    if inputs.request.no_restore || inputs.request.new_pidns {
        return Vec::new();
    }
    let taken = view.here.taken.iter().cloned();
    let taken = taken.map(|(pid, by)| ProcessRefusal::PidTaken { pid, by });
    let largest = inputs.listing.numbers().last().copied().unwrap_or_default();
    let too_large = view.here.pid_max;
    let too_large = too_large.map(|max| ProcessRefusal::PidTooLarge { pid: largest, max });
    taken.chain(too_large).collect()
}

fn of_files(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Vec<ProcessRefusal> {
    let named = |list: &[PathBuf], found: &Found<'_>| list.iter().any(|path| path == Path::new(&found.file.path));
    let request = inputs.request;
    let mut refusals: Vec<ProcessRefusal> = view
        .here
        .files
        .iter()
        .filter(|found| !is_put(found, request))
        .filter(|found| !(found.difference.is_allowable() && named(&request.allow_files, found)))
        .map(|found| ProcessRefusal::File {
            path: found.file.path.clone(),
            expected: Box::new(found.file.clone()),
            difference: found.difference.clone(),
        })
        .collect();
    let unknown = |flag, paths: &[PathBuf], is_known: &dyn Fn(&Path) -> bool| {
        let unknown = paths
            .iter()
            .filter(|path| !is_known(path))
            .map(|path| ProcessRefusal::FileUnknown {
                flag,
                path: path.clone(),
            });
        unknown.collect::<Vec<_>>()
    };
    let files = &inputs.listing.files;
    let archived = |path: &Path| files.iter().any(|file| file.archived && Path::new(&file.path) == path);
    let listed = |path: &Path| files.iter().any(|file| Path::new(&file.path) == path);
    refusals.extend(unknown("--replace-file", &request.replace_files, &archived));
    refusals.extend(unknown("--allow-file", &request.allow_files, &listed));
    refusals
}

/// Whether the archive's own content settles a difference: where nothing is there, or the importer has named it.
fn is_put(found: &Found<'_>, request: &ImportRequest) -> bool {
    use crate::process::Difference;
    let named = request
        .replace_files
        .iter()
        .any(|path| path == Path::new(&found.file.path));
    let replaceable = !matches!(found.difference, Difference::Kind { .. } | Difference::Device { .. });
    found.file.archived && (found.difference == Difference::Missing || (named && replaceable))
}

fn steps(inputs: ProcessInputs<'_>, view: &ProcessView<'_>, name: &Name, layout: &Layout) -> Vec<Step> {
    let request = inputs.request;
    let mut steps = vec![
        Step::MakeBundle {
            path: layout.bundle().to_owned(),
            mode: PRIVATE_MODE,
        },
        Step::PlaceImages {
            path: layout.images(),
            owner: None,
            external_netns: false,
        },
    ];
    let put = view.here.files.iter().filter(|found| is_put(found, request));
    let files: Vec<PathBuf> = put.map(|found| PathBuf::from(&found.file.path)).collect();
    if !files.is_empty() {
        steps.push(Step::PutFiles {
            entry: FILES.to_owned(),
            staging: layout.bundle().join("files"),
            files,
        });
    }
    if request.no_restore {
        return steps;
    }
    steps.extend(cgroup::make(view));
    let restore = restore_command(inputs, view, name, layout);
    steps.push(Step::Restore(Box::new(restore)));
    steps.extend(cgroup::limit(inputs, view));
    steps
}

fn restore_command(inputs: ProcessInputs<'_>, view: &ProcessView<'_>, name: &Name, layout: &Layout) -> RestoreCommand {
    let (request, manifest) = (inputs.request, inputs.manifest);
    let netns = match &request.netns {
        Netns::Keep | Netns::Host => None,
        Netns::New => Some(PathBuf::from("new")),
        Netns::Path(path) => Some(path.clone()),
    };
    RestoreCommand {
        runtime: RUNTIME,
        name: name.clone(),
        bundle: layout.bundle().to_owned(),
        images: layout.images(),
        state_root: None,
        work_path: request.work_path.clone(),
        console_socket: None,
        pid_file: request.pid_file.clone(),
        systemd_cgroup: false,
        cgroup: view
            .cgroup
            .as_ref()
            .filter(|cgroup| cgroup.asked)
            .map(|cgroup| cgroup.path.clone()),
        processes: Some(ProcessRestore {
            new_pidns: request.new_pidns,
            netns,
            // A job of a terminal joins that terminal's session.
            own_session: inputs.listing.foreign_session && !is_job(inputs),
            journal: inputs.listing.journal.clone(),
        }),
        options: switches(&manifest.options, &request.restore),
    }
}

fn warnings(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Vec<Warning> {
    let archived = &inputs.manifest.runtime.version;
    let other = view.criu.as_ref().filter(|here| *here != archived);
    let mut warnings: Vec<Warning> = other
        .map(|here| Warning::RuntimeVersion {
            archive: format!("criu {archived}"),
            here: format!("criu {here}"),
        })
        .into_iter()
        .collect();
    warnings.extend(cgroup::warning(view));
    if !inputs.listing.journal.is_empty() && !view.journal {
        warnings.push(Warning::NoJournal);
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;
    use crate::process::testing::open_file;
    use crate::process::{Difference, OpenFile, Task};

    fn file(path: &str, archived: bool) -> OpenFile {
        OpenFile {
            archived,
            ..open_file(path)
        }
    }

    fn listing(files: Vec<OpenFile>) -> Listing {
        let task = Task {
            pid: 7,
            ppid: 1,
            pgid: 7,
            sid: 7,
            threads: vec![7],
            name: "x".into(),
            command: Vec::new(),
        };
        Listing {
            version: 1,
            root: 7,
            tasks: vec![
                task.clone(),
                Task {
                    pid: 8,
                    ppid: 7,
                    threads: vec![8],
                    ..task
                },
            ],
            files,
            journal: Vec::new(),
            foreign_session: false,
        }
    }

    /// The plan, or every refusal as a line.
    fn planned(listing: &Listing, here: Here<'_>, change: impl FnOnce(&mut ImportRequest)) -> Result<Plan, String> {
        let Case {
            mut manifest,
            mut request,
            ..
        } = Case::plain();
        manifest.runtime.name = RUNTIME.into();
        manifest.namespaces.clear();
        change(&mut request);
        let inputs = ProcessInputs {
            manifest: &manifest,
            listing,
            request: &request,
        };
        let view = ProcessView {
            bundle: PathKind::Missing,
            criu: Some(manifest.runtime.version.clone()),
            here,
            terminal: false,
            journal: false,
            cgroup: None,
        };
        plan(inputs, &view).map_err(|refusals| refusals.to_string())
    }

    fn different(file: &OpenFile, difference: Difference) -> Here<'_> {
        Here {
            files: vec![Found { file, difference }],
            ..Here::default()
        }
    }

    #[test]
    fn a_free_host_needs_images_and_a_restore() {
        let listing = listing(Vec::new());
        let plan = planned(&listing, Here::default(), |_| {}).unwrap();
        assert!(matches!(
            &plan.steps[..],
            [Step::MakeBundle { .. }, Step::PlaceImages { .. }, Step::Restore(_)]
        ));
        assert_eq!(plan.restore().unwrap().processes, Some(ProcessRestore::default()));
    }

    #[test]
    fn taken_numbers_are_named_unless_there_is_a_new_namespace() {
        let listing = listing(Vec::new());
        let here = || Here {
            taken: vec![(7, "sshd".into())],
            ..Here::default()
        };
        let text = planned(&listing, here(), |_| {}).unwrap_err();
        assert!(text.contains("the number 7 has another process here: sshd"), "{text}");
        let plan = planned(&listing, here(), |request| request.new_pidns = true).unwrap();
        assert!(plan.restore().unwrap().processes.as_ref().unwrap().new_pidns);
    }

    #[test]
    fn files_are_put_only_where_nothing_is_or_the_importer_named_them() {
        let with = listing(vec![file("/srv/a", true)]);
        let put = |plan: &Plan| plan.steps.iter().any(|step| matches!(step, Step::PutFiles { .. }));
        let missing = planned(&with, different(&with.files[0], Difference::Missing), |_| {}).unwrap();
        assert!(put(&missing));
        let size = || different(&with.files[0], Difference::Size { here: 9 });
        let text = planned(&with, size(), |_| {}).unwrap_err();
        assert!(
            text.contains("/srv/a") && text.contains("--replace-file /srv/a"),
            "{text}"
        );
        let named = planned(&with, size(), |request| request.replace_files = vec!["/srv/a".into()]).unwrap();
        assert!(put(&named));
    }

    #[test]
    fn only_what_criu_would_accept_can_be_allowed() {
        let without = listing(vec![file("/srv/a", false)]);
        let allow = |request: &mut ImportRequest| request.allow_files = vec!["/srv/a".into()];
        planned(&without, different(&without.files[0], Difference::Content), allow).unwrap();
        let text = planned(&without, different(&without.files[0], Difference::Missing), allow).unwrap_err();
        assert!(text.contains("/srv/a is not on this host"), "{text}");
        let text = planned(&without, Here::default(), |request| {
            request.replace_files = vec!["/srv/b".into()];
        })
        .unwrap_err();
        assert!(text.contains("--replace-file names /srv/b"), "{text}");
    }

    #[test]
    fn a_network_namespace_has_to_be_named() {
        let mut case = Case::plain();
        case.manifest.namespaces = vec![crate::manifest::Namespace {
            kind: "network".into(),
            path: None,
        }];
        let listing = listing(Vec::new());
        for (netns, refused) in [(Netns::Keep, true), (Netns::Host, false), (Netns::New, false)] {
            case.request.netns = netns;
            let inputs = ProcessInputs {
                manifest: &case.manifest,
                listing: &listing,
                request: &case.request,
            };
            assert_eq!(of_archive(inputs).len(), usize::from(refused));
        }
    }

    #[test]
    fn switches_of_containers_and_impossible_ones_are_refused_by_name() {
        let listing = listing(Vec::new());
        for (change, flag) in [
            (
                (|request| request.root = Some("/r".into())) as fn(&mut ImportRequest),
                "--root",
            ),
            (|request| request.hostname = Some("h".into()), "--hostname"),
            (|request| request.lazy = true, "--lazy"),
            (|request| request.restore.shell_job = true, "standard input"),
            (
                |request| (request.restore.shell_job, request.new_pidns) = (true, true),
                "--new-pidns",
            ),
        ] {
            let text = planned(&listing, Here::default(), change).unwrap_err();
            assert!(text.contains(flag), "{flag}: {text}");
        }
    }
}
