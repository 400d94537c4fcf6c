//! A directory tree as a tar stream, and back, beneath a directory descriptor.
