//! The capabilities of this process that checkpointing needs.

use serde::Serialize;

/// A capability (include/uapi/linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum Capability {
    /// Network namespaces, interfaces and rules.
    CapNetAdmin = 12,
    /// Looking into other processes.
    CapSysPtrace = 19,
    /// Mounts and namespaces.
    CapSysAdmin = 21,
    /// Resource limits of tasks of other users.
    CapSysResource = 24,
    /// Process numbers and links that only a restore sets; since Linux 5.9.
    CapCheckpointRestore = 40,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CapNetAdmin,
        Self::CapSysPtrace,
        Self::CapSysAdmin,
        Self::CapSysResource,
        Self::CapCheckpointRestore,
    ];
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective set in the text of `/proc/PID/status`; `None` when it has none.
    #[must_use]
    pub fn parse(status: &str) -> Option<Self> {
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(set.trim(), 16).ok().map(Self)
    }

    /// Whether it has this one.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> (capability as u8) & 1 == 1
    }

    /// Those of [`Capability::ALL`] that it lacks.
    #[must_use]
    pub fn missing(self) -> Vec<Capability> {
        Capability::ALL
            .into_iter()
            .filter(|&capability| !self.has(capability))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read() {
        let cases = [
            ("000001ffffffffff", vec![]),
            ("000001fffeffffff", vec![Capability::CapSysResource]),
            ("000000ffffffffff", vec![Capability::CapCheckpointRestore]),
            ("0000000000000000", Capability::ALL.to_vec()),
        ];
        for (set, missing) in cases {
            let status = format!("Name:\tCapEff:\nCapPrm:\t0\nCapEff:\t{set}\nCapBnd:\t0\n");
            assert_eq!(Capabilities::parse(&status).unwrap().missing(), missing, "{set}");
        }
        for status in ["", "CapEff:\t\n", "CapEff:\tx\n", "CapPrm:\t0\n"] {
            assert_eq!(Capabilities::parse(status), None, "{status:?}");
        }
    }
}
