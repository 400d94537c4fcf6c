//! The device files that crun bind-mounts from the host into a container with a user namespace.
//!
//! Such a container cannot make device nodes. runc tells CRIU of the mounts that it makes instead, crun does not, and the
//! dump fails with `doesn't have a proper root mount`. They are declared in CRIU's option file, at dump and at restore.

use serde_json::Value;

use crate::criu::{Error, OptionFile};

/// The devices that the runtime specification gives every container.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Declares the mounts for a dump.
pub(super) fn declare_for_dump(options: &mut OptionFile, spec: &Value) -> Result<(), Error> {
    declare(options, spec, |device| format!("mnt[/dev/{device}]:ckpt-dev-{device}"))
}

/// Tells CRIU where the mounts of a dump come from on this host.
pub(super) fn declare_for_restore(options: &mut OptionFile, spec: &Value) -> Result<(), Error> {
    declare(options, spec, |device| format!("mnt[ckpt-dev-{device}]:/dev/{device}"))
}

fn declare(options: &mut OptionFile, spec: &Value, mount: impl Fn(&str) -> String) -> Result<(), Error> {
    let namespaces = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    if !namespaces.is_some_and(|all| all.iter().any(|namespace| namespace["type"] == "user")) {
        return Ok(());
    }
    for device in DEVICES {
        options.value("external", &mount(device))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_declared_only_for_a_user_namespace() {
        let mut options = OptionFile::new();
        declare_for_dump(&mut options, &json!({"linux": {"namespaces": [{"type": "pid"}]}})).unwrap();
        assert_eq!(options.as_str(), "");
        declare_for_restore(&mut options, &json!({"linux": {"namespaces": [{"type": "user"}]}})).unwrap();
        assert!(
            options
                .as_str()
                .starts_with("external \"mnt[ckpt-dev-null]:/dev/null\"\n"),
            "{}",
            options.as_str()
        );
    }
}
