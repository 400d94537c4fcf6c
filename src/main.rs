//! The command `ckpt`: parses arguments, calls the library, prints, and maps errors to exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    ckpt::cli::main()
}
