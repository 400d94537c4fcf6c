#!/usr/bin/env python3
"""timed.py OUTPUT SCRIPT: runs a shell script and prints, as JSON, how long it took. Runs on a test host.

CPU time is what the whole host used meanwhile, by its cgroup: runtimes, CRIU, daemons and the container included, also
those that nobody waits for. OUTPUT is a file for what the script prints: with a pipe, somebody that goes on running and keeps it
open would have to be waited for.
"""

import json
import os
import resource
import sys
import time

# The host's own cgroup, as it sees it: beside version 1 hierarchies, or alone.
CPU_STATS = ("/sys/fs/cgroup/unified/cpu.stat", "/sys/fs/cgroup/cpu.stat")


def cpu():
    """User and system seconds."""
    for path in CPU_STATS:
        try:
            with open(path) as file:
                stat = dict(line.split() for line in file)
        except OSError:
            continue
        return int(stat["user_usec"]) / 1e6, int(stat["system_usec"]) / 1e6
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def busy():
    """Seconds that all processors of the machine worked, for whomever; what a hypervisor took away is among it."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def main():
    output = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    before, worked, start, began = cpu(), busy(), time.monotonic(), time.time_ns()
    pid = os.posix_spawn("/bin/sh", ["sh", "-ec", sys.argv[2]], os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall, after = time.monotonic() - start, cpu()
    worked = busy() - worked - sum(after) + sum(before)
    print(json.dumps({
        "status": os.waitstatus_to_exitcode(status), "wall": wall, "began_ns": began, "ended_ns": began + int(wall * 1e9),
        "user": after[0] - before[0], "system": after[1] - before[1],
        "others": max(0, worked / (wall * os.cpu_count())), "own_cpu": usage.ru_utime + usage.ru_stime,
        "resident": usage.ru_maxrss << 10,
    }))


main()
