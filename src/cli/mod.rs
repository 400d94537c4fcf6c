//! The command line: arguments, one file per subcommand, and the only code that prints.
//!
//! A subcommand turns its arguments into a checked request, calls the library, and shows the result or ends with a
//! [`render::failure::Failure`]. The exit code comes from the failure's kind and from nothing else.

mod archive;
mod args;
mod cat;
mod check;
mod convert;
mod criu_action;
mod criu_rpc;
mod diff;
mod exit;
mod export;
mod extract;
mod generate;
mod import;
mod inspect;
mod lazy_guard;
mod list;
mod look;
mod ls;
mod memory;
mod remake;
mod render;
mod report;
mod seal;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub use diff::schema as diff_schema;
pub use exit::{READER_GONE, exit_codes};
pub use generate::man_pages;
pub use inspect::schema as inspect_schema;
pub use list::schema as list_schema;
pub use memory::schema as memory_schema;
pub use render::json::schema as events_schema;

use args::{Cli, Command, UsageError};
use render::failure::Failure;
use render::{Stop, Ui};

use crate::error::ErrorKind;
use crate::request::Input;

/// What to do about an archive that is not right.
const ARCHIVE_ADVICE: &str =
    "copy it again and compare: `ckpt verify FILE` on the host that made it must print the same identity";

/// How a subcommand ends: with an exit code of its own where it did what was asked, or a reason why not.
type Outcome = Result<ExitCode, Stop>;

/// Runs the command with the process's arguments and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    diagnose(cli.global.verbose);
    let ui = Ui::new(cli.global);
    match run(cli.command, &ui) {
        Ok(code) => code,
        Err(Stop::Told(kind)) => ExitCode::from(kind.exit_code()),
        Err(Stop::ReaderGone) => ExitCode::from(READER_GONE),
        Err(Stop::Failed(failure)) => {
            failure.print(ui.json_errors());
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(command: Command, ui: &Ui) -> Outcome {
    match command {
        Command::Export(args) => export::run(*args, ui),
        Command::Import(args) => import::run(*args, ui),
        Command::Verify(args) => verify::run(args, ui),
        Command::Inspect(args) => inspect::run(args, ui),
        Command::Diff(args) => diff::run(args, ui),
        Command::Report(args) => report::run(args, ui),
        Command::List(args) => list::run(args, ui),
        Command::Memory(args) => memory::run(args, ui),
        Command::Ls(args) => ls::run(args, ui),
        Command::Cat(args) => cat::run(args),
        Command::Extract(args) => extract::run(args, ui),
        Command::Seal(args) => seal::run(args, ui),
        Command::Convert(args) => convert::run(args, ui),
        Command::Check(args) => check::run(args, ui),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
        Command::CriuAction(args) => criu_action::run(&args),
        Command::CriuRpc(args) => criu_rpc::run(&args),
        Command::LazyGuard(args) => lazy_guard::run(args, ui),
    }
}

/// Help and version are results; everything else is a usage error.
fn not_parsed(error: &clap::Error) -> ExitCode {
    // The arguments could not be parsed, so this one is looked for by hand.
    let json = std::env::args_os().any(|word| word == "--json");
    if error.use_stderr() && json {
        usage(error).print(true);
    } else {
        // Whoever asked for help and went away does not miss the rest.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() {
        ErrorKind::Usage.exit_code()
    } else {
        0
    })
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let what = text.split("\n\n").next().unwrap_or_default();
    Failure::bare(what.trim_start_matches("error: ").trim(), ErrorKind::Usage)
}

/// A usage error that only the conversion to a request can see, told in the parser's way.
fn wrong_usage(subcommand: &str, error: &UsageError, ui: &Ui) -> Stop {
    let mut root = Cli::command();
    root.build();
    let error = match root.find_subcommand_mut(subcommand) {
        Some(command) => command.error(clap::error::ErrorKind::ValueValidation, error),
        None => root.error(clap::error::ErrorKind::ValueValidation, error),
    };
    if ui.json_errors() {
        return usage(&error).into();
    }
    let _ = error.print();
    Stop::Told(ErrorKind::Usage)
}

/// An archive as messages name it.
fn source_name(input: &Input) -> String {
    match input {
        Input::File(path) => path.display().to_string(),
        Input::Stdin => "-".to_owned(),
    }
}

/// Diagnosis on standard error: what `-v` asks for, or the environment variable `CKPT_LOG` in more detail.
fn diagnose(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => None,
        1 => Some("ckpt=info"),
        2 => Some("ckpt=debug"),
        _ => Some("trace"),
    };
    let wanted = std::env::var("CKPT_LOG").ok().filter(|filter| !filter.is_empty());
    if let Some(filter) = wanted.as_deref().or(level) {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(std::io::stderr);
        // Only a second subscriber is refused, and this is the only place that makes one.
        let _ = subscriber.without_time().try_init();
    }
}
