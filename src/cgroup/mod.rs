//! The cgroup record of a container: hierarchies, tree, owners and limits, of version 1 and 2.
