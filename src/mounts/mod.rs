//! Mounts of a process: `/proc/PID/mountinfo` parsed, and the container's bind-mount map.
