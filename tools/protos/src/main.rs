//! Generates `src/images/proto.rs` from `src/images/images.proto`; with `--check` it only says whether that is up to date.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

const HEAD: &str = "// Generated from images.proto by tools/protos; not to be edited.\n";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/images");
    let out = std::env::temp_dir().join(format!("ckpt-protos-{}", std::process::id()));
    std::fs::create_dir(&out)?;
    let generated = generate(&images, &out);
    std::fs::remove_dir_all(&out)?;
    let (generated, path) = (generated?, images.join("proto.rs"));
    if std::env::args().nth(1).as_deref() != Some("--check") {
        std::fs::write(&path, generated)?;
    } else if std::fs::read_to_string(&path)? != generated {
        eprintln!("src/images/proto.rs is out of date: cargo run --manifest-path tools/protos/Cargo.toml");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(images: &Path, out: &Path) -> Result<String, Box<dyn Error>> {
    let files = protox::compile([images.join("images.proto")], [images])?;
    prost_build::Config::new().out_dir(out).compile_fds(files)?;
    Ok(HEAD.to_owned() + &std::fs::read_to_string(out.join("images.rs"))?)
}
