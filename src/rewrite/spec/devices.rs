//! `linux.devices`: device nodes that a container has beside the ones every container has.

use serde_json::Value;

use super::{SpecError, clean, integer_at, list_at, path, string_at};

/// Devices that runtimes give to every container, whatever the configuration says (runtime specification, "default
/// devices"), and the two that hold nothing of the host. Naming them again gives away nothing.
const DEFAULT: &[(&str, i64, i64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
    ("/dev/console", 5, 1),
    ("/dev/ptmx", 5, 2),
];

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where it is in the container, cleaned.
    pub path: String,
    /// `c`, `u`, `b` or `p`.
    pub kind: String,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
}

impl Device {
    /// Whether it is one that every container has (or a FIFO, which is no device of the host).
    #[must_use]
    pub fn is_default(&self) -> bool {
        match self.kind.as_str() {
            "p" => true,
            "c" | "u" => DEFAULT.contains(&(self.path.as_str(), self.major, self.minor)),
            _ => false,
        }
    }
}

/// The device nodes of the configuration.
///
/// # Errors
/// When the shape is wrong.
pub fn read(spec: &Value) -> Result<Vec<Device>, SpecError> {
    let list = list_at(spec, "/linux/devices")?;
    list.iter()
        .enumerate()
        .map(|(index, device)| read_one(device, &format!("/linux/devices/{index}")))
        .collect()
}

fn read_one(device: &Value, pointer: &str) -> Result<Device, SpecError> {
    super::object(device, pointer)?;
    let within = |error| super::mounts::prefix(error, pointer);
    let missing = |key: &str| SpecError::Missing {
        pointer: format!("{pointer}/{key}"),
    };
    let at = string_at(device, "/path")
        .map_err(within)?
        .ok_or_else(|| missing("path"))?;
    Ok(Device {
        path: clean(path(at, &format!("{pointer}/path"))?),
        kind: string_at(device, "/type")
            .map_err(within)?
            .ok_or_else(|| missing("type"))?
            .to_owned(),
        major: integer_at(device, "/major").map_err(within)?.unwrap_or(0),
        minor: integer_at(device, "/minor").map_err(within)?.unwrap_or(0),
    })
}

/// How many rules of `linux.resources.devices` allow something that is no default device, no pseudo-terminal and none of
/// the devices in `given`.
///
/// # Errors
/// When the shape is wrong.
pub fn rules_beyond(spec: &Value, given: &[&Device]) -> Result<usize, SpecError> {
    let mut count = 0;
    for (index, rule) in list_at(spec, "/linux/resources/devices")?.iter().enumerate() {
        let pointer = format!("/linux/resources/devices/{index}");
        super::object(rule, &pointer)?;
        let within = |error| super::mounts::prefix(error, &pointer);
        let allow = super::boolean_at(rule, "/allow").map_err(within)?.unwrap_or(false);
        let numbers = (
            integer_at(rule, "/major").map_err(within)?,
            integer_at(rule, "/minor").map_err(within)?,
        );
        // Making nodes (access "m") is harmless without reading and writing them; runtimes allow it by default.
        let harmless = string_at(rule, "/access")
            .map_err(within)?
            .is_some_and(|access| access == "m");
        let known = given
            .iter()
            .any(|device| numbers == (Some(device.major), Some(device.minor)));
        if allow && !harmless && !known && !is_default_rule(numbers) {
            count += 1;
        }
    }
    Ok(count)
}

fn is_default_rule(numbers: (Option<i64>, Option<i64>)) -> bool {
    match numbers {
        // Pseudo-terminals: the container's own devpts decides which there are.
        (Some(136), _) => true,
        (Some(major), Some(minor)) => DEFAULT
            .iter()
            .any(|(_, known, least)| (*known, *least) == (major, minor)),
        _ => false,
    }
}
