//! The bytes of a process's memory, as `hexdump -C` shows them.

use std::io::{self, Write};

use super::super::archive::Archive;
use super::super::args::MemoryArgs;
use super::super::render::{Stop, text};
use super::walk;

/// Bytes in a line.
const LINE: usize = 16;

/// Prints the memory of one process.
pub fn run(archive: &Archive, pid: u32, args: &MemoryArgs) -> Result<(), Stop> {
    let look = archive.look()?;
    let processes = walk::processes(archive, &look, Some(pid))?;
    let mut result = Ok(());
    super::output(args.output.as_deref(), |out| {
        let mut lines = Lines::default();
        result = walk::walk(archive, &look, &processes, &mut |number, address, bytes| {
            let mapping = processes[number].mapping(address);
            let label = mapping.map(|mapping| (mapping.start.0, mapping.protection.as_str(), mapping.label()));
            lines
                .dump(out, label, address, bytes)
                .map_err(|error| Stop::stdout(&error))
        });
        Ok(())
    })?;
    result
}

/// Lines that were already printed.
#[derive(Default)]
struct Lines {
    /// Start of the mapping that the last line was in.
    mapping: Option<u64>,
    last: Vec<u8>,
    /// Whether the line before stands for those that are the same.
    repeated: bool,
    next: u64,
}

impl Lines {
    fn dump(
        &mut self,
        out: &mut dyn Write,
        mapping: Option<(u64, &str, String)>,
        address: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        if let Some((start, protection, label)) = mapping
            && self.mapping != Some(start)
        {
            writeln!(out, "{start:016x}  {protection} {}", text::visible(&label))?;
            (self.mapping, self.repeated) = (Some(start), false);
            self.last.clear();
        }
        if address != self.next {
            self.last.clear();
        }
        for (number, line) in bytes.chunks(LINE).enumerate() {
            if line == self.last {
                if !self.repeated {
                    writeln!(out, "*")?;
                }
                self.repeated = true;
                continue;
            }
            write_line(out, address + (number * LINE) as u64, line)?;
            self.repeated = false;
            self.last.clear();
            self.last.extend_from_slice(line);
        }
        self.next = address + bytes.len() as u64;
        Ok(())
    }
}

fn write_line(out: &mut dyn Write, address: u64, line: &[u8]) -> io::Result<()> {
    write!(out, "{address:016x}  ")?;
    for at in 0..LINE {
        match line.get(at) {
            Some(byte) => write!(out, "{byte:02x} ")?,
            None => write!(out, "   ")?,
        }
        if at == LINE / 2 - 1 {
            write!(out, " ")?;
        }
    }
    let shown: String = line
        .iter()
        .map(|byte| {
            if (0x20..0x7f).contains(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        })
        .collect();
    writeln!(out, " |{shown}|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_the_same_are_one_star() {
        let bytes = [&b"0123456789abcdef"[..], &[0; 64], b"end"].concat();
        let (mut out, mut lines) = (Vec::new(), Lines::default());
        let mapping = || Some((0x1000, "rw-p", "[heap]".to_owned()));
        lines.dump(&mut out, mapping(), 0x1000, &bytes[..40]).unwrap();
        // Pieces are multiples of a line in fact; a piece that is not begins a line of its own.
        lines.dump(&mut out, mapping(), 0x1028, &bytes[40..]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "0000000000001000  rw-p [heap]",
                "0000000000001000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
                "0000000000001010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
            ]
        );
        assert!(lines.contains(&"*") && text.ends_with("|........end|\n"), "{text}");
    }
}
