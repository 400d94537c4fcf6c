//! The archive format, version 1: an ordinary tar in independent frames, with checksums, a seek table and an index.
