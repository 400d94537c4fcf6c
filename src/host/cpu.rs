//! The processor, from `/proc/cpuinfo`.

use std::collections::BTreeMap;

use crate::manifest::Cpu;

/// Reads the first processor of the text of `/proc/cpuinfo`; the xsave size is told apart from it. What another
/// architecture does not say is empty or 0.
#[must_use]
pub fn parse(cpuinfo: &str, xsave_size: u32) -> Cpu {
    let fields = first_processor(cpuinfo);
    // The first of the names that is there: x86, then ARM, then S/390 and POWER.
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| fields.get(name))
            .copied()
            .unwrap_or_default()
    };
    let mut flags: Vec<_> = text(&["flags", "Features", "features"])
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    flags.sort_unstable();
    flags.dedup();
    Cpu {
        vendor: text(&["vendor_id", "CPU implementer"]).to_owned(),
        family: number(text(&["cpu family", "CPU architecture"])),
        model: number(text(&["model", "CPU part"])),
        name: text(&["model name", "Processor", "cpu"]).to_owned(),
        xsave_size,
        flags,
    }
}

/// The fields up to the end of the first processor's paragraph. S/390 describes the machine in a paragraph before that.
fn first_processor(cpuinfo: &str) -> BTreeMap<&str, &str> {
    let mut fields = BTreeMap::new();
    for line in cpuinfo.lines() {
        match line.split_once(':') {
            Some((name, value)) => drop(fields.entry(name.trim()).or_insert(value.trim())),
            None if fields.contains_key("processor") => break,
            None => {}
        }
    }
    fields
}

/// A number in decimal, or in hexadecimal after `0x`, as ARM writes it; 0 for anything else.
fn number(text: &str) -> u32 {
    let hexadecimal = text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
    hexadecimal.unwrap_or_else(|| text.parse()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read() {
        struct Case {
            text: &'static str,
            vendor: &'static str,
            family: u32,
            model: u32,
            name: &'static str,
            first_flags: &'static [&'static str],
            flags: usize,
        }
        let cases = [
            Case {
                text: include_str!("../../fixtures/proc/cpuinfo-intel"),
                vendor: "GenuineIntel",
                family: 6,
                model: 85,
                name: "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz",
                first_flags: &["3dnowprefetch", "abm", "adx"],
                flags: 73,
            },
            Case {
                text: include_str!("../../fixtures/proc/cpuinfo-amd"),
                vendor: "AuthenticAMD",
                family: 26,
                model: 2,
                name: "AMD EPYC",
                first_flags: &["3dnowprefetch", "abm", "adx"],
                flags: 106,
            },
            Case {
                text: include_str!("../../fixtures/proc/cpuinfo-arm64"),
                vendor: "0x41",
                family: 8,
                model: 0xd0c,
                name: "",
                first_flags: &["aes", "asimd", "asimddp"],
                flags: 19,
            },
            Case {
                text: include_str!("../../fixtures/proc/cpuinfo-s390x"),
                vendor: "IBM/S390",
                family: 0,
                model: 0,
                name: "",
                first_flags: &["dflt", "dfp", "edat"],
                flags: 19,
            },
            Case {
                text: "",
                vendor: "",
                family: 0,
                model: 0,
                name: "",
                first_flags: &[],
                flags: 0,
            },
        ];
        for case in cases {
            let cpu = parse(case.text, 832);
            assert_eq!(
                (cpu.vendor.as_str(), cpu.family, cpu.model),
                (case.vendor, case.family, case.model)
            );
            assert_eq!((cpu.name.as_str(), cpu.xsave_size), (case.name, 832));
            assert_eq!(cpu.flags.len(), case.flags, "{}", case.vendor);
            assert!(
                cpu.flags
                    .iter()
                    .zip(case.first_flags)
                    .all(|(found, wanted)| found == wanted),
                "{:?}",
                cpu.flags
            );
        }
    }
}
