//! `stats-dump`, CRIU's statistics of a dump.
//!
//! CRIU writes this file only after `post-dump`, when the archive is already complete. An archive therefore carries one
//! that ckpt wrote in CRIU's form from what is known at the commit point: pages counted in the pagemaps, times taken from
//! CRIU's log. Field numbers are those of CRIU's `stats.proto`.

use prost::Message;

use super::Error;

const SERVICE_MAGIC: u32 = 0x5510_5940;
const STATS_MAGIC: u32 = 0x5709_3306;
/// Two magic numbers and the length of the one message.
const HEADER: usize = 12;

/// The message in a `stats-dump` file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stats {
    /// Statistics of a dump.
    #[prost(message, optional, tag = "1")]
    pub dump: Option<DumpStats>,
}

/// Statistics of a dump; times in microseconds.
#[derive(Clone, PartialEq, Eq, Message, serde::Serialize, schemars::JsonSchema)]
pub struct DumpStats {
    /// Until every task was stopped.
    #[prost(uint32, required, tag = "1")]
    pub freezing_time: u32,
    /// From the first task stopped to the end.
    #[prost(uint32, required, tag = "2")]
    pub frozen_time: u32,
    /// Collecting memory.
    #[prost(uint32, required, tag = "3")]
    pub memdump_time: u32,
    /// Writing memory.
    #[prost(uint32, required, tag = "4")]
    pub memwrite_time: u32,
    /// Pages looked at.
    #[prost(uint64, required, tag = "5")]
    pub pages_scanned: u64,
    /// Pages left to the parent.
    #[prost(uint64, required, tag = "6")]
    pub pages_skipped_parent: u64,
    /// Pages written.
    #[prost(uint64, required, tag = "7")]
    pub pages_written: u64,
    /// Resolving inode numbers.
    #[prost(uint32, optional, tag = "8")]
    pub irmap_resolve: Option<u32>,
    /// Pages that can be restored lazily.
    #[prost(uint64, required, tag = "9")]
    pub pages_lazy: u64,
    /// Pipes used.
    #[prost(uint64, optional, tag = "10")]
    pub page_pipes: Option<u64>,
    /// Pipe buffers used.
    #[prost(uint64, optional, tag = "11")]
    pub page_pipe_bufs: Option<u64>,
    /// Pages of shared memory looked at.
    #[prost(uint64, optional, tag = "12")]
    pub shpages_scanned: Option<u64>,
    /// Pages of shared memory left to the parent.
    #[prost(uint64, optional, tag = "13")]
    pub shpages_skipped_parent: Option<u64>,
    /// Pages of shared memory written.
    #[prost(uint64, optional, tag = "14")]
    pub shpages_written: Option<u64>,
}

impl DumpStats {
    /// The content of a `stats-dump` file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let message = Stats {
            dump: Some(self.clone()),
        }
        .encode_to_vec();
        let mut file = Vec::with_capacity(HEADER + message.len());
        file.extend(SERVICE_MAGIC.to_le_bytes());
        file.extend(STATS_MAGIC.to_le_bytes());
        file.extend((message.len() as u32).to_le_bytes());
        file.extend(message);
        file
    }

    /// Reads the content of a `stats-dump` file.
    ///
    /// # Errors
    /// [`Error::Image`] where it is not one.
    pub fn from_file(file: &[u8]) -> Result<Self, Error> {
        let bad = |why| Error::Image {
            image: "stats-dump".to_owned(),
            why,
        };
        let word = |at: usize| {
            file.get(at..at + 4)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_le_bytes)
        };
        if (word(0), word(4)) != (Some(SERVICE_MAGIC), Some(STATS_MAGIC)) {
            return Err(bad("wrong magic number"));
        }
        let length = word(8).ok_or_else(|| bad("too short"))? as usize;
        let message = file
            .get(HEADER..)
            .filter(|m| m.len() == length)
            .ok_or_else(|| bad("wrong length"))?;
        Stats::decode(message)
            .map_err(|_| bad("not a protobuf message"))?
            .dump
            .ok_or_else(|| bad("no statistics of a dump"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_survive_the_file() {
        let stats = DumpStats {
            frozen_time: 12,
            pages_written: 1 << 40,
            shpages_written: Some(3),
            ..Default::default()
        };
        assert_eq!(DumpStats::from_file(&stats.to_file()).unwrap(), stats);
    }

    #[test]
    fn every_truncation_is_refused() {
        let file = DumpStats {
            frozen_time: 12,
            ..Default::default()
        }
        .to_file();
        for length in 0..file.len() {
            assert!(DumpStats::from_file(&file[..length]).is_err(), "{length}");
        }
    }
}
