//! What an archive is to be compressed with, and how hard.
//!
//! Invariant: every level that is taken, or tried by [`Level::Auto`], makes frames that any reader of the format accepts.

use std::fmt;
use std::str::FromStr;

use super::Codec;
use crate::archive::error::Error;

/// How hard frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As hard as can be done without letting the caller wait: lower while it would have to, higher where there is time.
    /// What is written then depends on timing; its content does not.
    Auto,
    /// Always at this level: the same content makes the same bytes.
    Fixed(i32),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(level) => level.fmt(f),
        }
    }
}

/// How an archive is to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard at this level, 1 to 19.
    Zstd {
        /// The level.
        level: Level,
    },
    /// gzip at this level, 1 to 9.
    Gzip {
        /// The level.
        level: Level,
    },
    /// None.
    None,
}

/// Levels of zstd that are taken: beyond 19 it needs more memory than a frame is worth.
const ZSTD_LEVELS: std::ops::RangeInclusive<i64> = 1..=19;
/// Levels of gzip that are taken.
const GZIP_LEVELS: std::ops::RangeInclusive<i64> = 1..=9;

/// The level of zstd where none is given: beyond it time grows faster than archives shrink.
const ZSTD_DEFAULT: i32 = 3;
/// The level of gzip where none is given: its own.
const GZIP_DEFAULT: i32 = 6;

/// Levels of zstd to choose from, hardest first. Of the bench's workload one core compresses 1370, 1640, 2460, 3120 and 4040
/// MB/s, to 31, 31, 38, 41 and 46 %; of machine code 370, 470, 770, 1020 and 1230 MB/s, to 35, 36, 53, 62 and 69 %. Beyond the
/// last, SHA-256 of what is stored takes longer than compression saves.
const ZSTD_LADDER: [i32; 5] = [ZSTD_DEFAULT, 2, -5, -10, -20];
/// Levels of gzip to choose from, hardest first.
const GZIP_LADDER: [i32; 4] = [GZIP_DEFAULT, 4, 2, 1];

impl Compression {
    /// zstd at level 3: 600 MB/s on one core.
    pub const ZSTD: Self = Self::Zstd {
        level: Level::Fixed(ZSTD_DEFAULT),
    };
    /// gzip at level 6: 80 MB/s on one core.
    pub const GZIP: Self = Self::Gzip {
        level: Level::Fixed(GZIP_DEFAULT),
    };

    /// What the stream will be compressed with.
    #[must_use]
    pub const fn codec(self) -> Codec {
        match self {
            Self::Zstd { .. } => Codec::Zstd,
            Self::Gzip { .. } => Codec::Gzip,
            Self::None => Codec::None,
        }
    }

    /// The same at another level; `none` has no levels and stays as it is.
    ///
    /// # Errors
    /// [`Error::Option`] where the level is out of range.
    pub fn with_level(self, level: i64) -> Result<Self, Error> {
        let checked = |range: std::ops::RangeInclusive<i64>| {
            if range.contains(&level) {
                return Ok(Level::Fixed(level as i32));
            }
            Err(Error::Option {
                option: "level",
                value: level,
                least: *range.start(),
                most: *range.end(),
            })
        };
        Ok(match self {
            Self::Zstd { .. } => Self::Zstd {
                level: checked(ZSTD_LEVELS)?,
            },
            Self::Gzip { .. } => Self::Gzip {
                level: checked(GZIP_LEVELS)?,
            },
            Self::None => Self::None,
        })
    }

    /// The same at a level that follows how fast the content comes; `none` has no levels and stays as it is.
    #[must_use]
    pub const fn adaptive(self) -> Self {
        let level = Level::Auto;
        match self {
            Self::Zstd { .. } => Self::Zstd { level },
            Self::Gzip { .. } => Self::Gzip { level },
            Self::None => Self::None,
        }
    }

    /// The levels that frames may be compressed at, hardest first; never empty.
    pub(in crate::archive) fn ladder(self) -> Vec<i32> {
        match self {
            Self::Zstd { level: Level::Auto } => ZSTD_LADDER.to_vec(),
            Self::Gzip { level: Level::Auto } => GZIP_LADDER.to_vec(),
            Self::Zstd {
                level: Level::Fixed(level),
            }
            | Self::Gzip {
                level: Level::Fixed(level),
            } => vec![level],
            Self::None => vec![0],
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::ZSTD
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "zstd" => Ok(Self::ZSTD),
            "gzip" => Ok(Self::GZIP),
            "none" => Ok(Self::None),
            _ => Err(Error::Compression { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_by_name() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            assert_eq!(codec.name().parse::<Compression>().expect("name").codec(), codec);
        }
        "xz".parse::<Compression>().expect_err("not one of ours");
    }

    #[test]
    fn levels_are_of_the_compression() {
        let fixed = |level| Compression::Zstd {
            level: Level::Fixed(level),
        };
        assert_eq!(Compression::default().with_level(19).expect("in range"), fixed(19));
        for level in [0, -5, 20] {
            Compression::default().with_level(level).expect_err("out of range");
        }
        assert_eq!(fixed(7).ladder(), [7]);
        let auto = Compression::default().adaptive();
        assert_eq!(auto, Compression::Zstd { level: Level::Auto });
        for (auto, default) in [(auto, ZSTD_DEFAULT), (Compression::GZIP.adaptive(), GZIP_DEFAULT)] {
            assert_eq!(
                auto.ladder().first(),
                Some(&default),
                "it never compresses harder than by default"
            );
            assert!(auto.ladder().is_sorted_by(|harder, faster| harder > faster));
        }
        assert_eq!(Compression::None.adaptive(), Compression::None);
    }
}
