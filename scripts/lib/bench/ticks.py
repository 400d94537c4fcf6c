"""The counter of a container (tests/workloads/memhog.py), seen from outside.

What a container's user notices of a dump is how long it stands still: from its last count to its next one, or to its end when
the tool kills it. No tool's own figure is needed for that.
"""

import os
import select
import struct
import threading
import time

PAIR = struct.Struct("<QQ")
SECONDS = 1e-9
GOES_ON_SECONDS = 60
LOOK_SECONDS = 0.005


class Counter:
    def __init__(self, host, path):
        self.host, self.path = host, path
        self.file = os.open(host.inside_root(path), os.O_RDONLY)
        self.slots = os.fstat(self.file).st_size // PAIR.size
        self.pid = find(path)

    def close(self):
        os.close(self.file)

    def read(self):
        """All counts the ring still has: number -> nanoseconds."""
        ring = os.pread(self.file, self.slots * PAIR.size, 0)
        return {number: when for number, when in PAIR.iter_unpack(ring) if number}

    def one(self, number):
        found, when = PAIR.unpack(os.pread(self.file, PAIR.size, number % self.slots * PAIR.size))
        return when if found == number else None

    def last(self):
        """Number and nanoseconds."""
        return max(self.read().items())

    def longest_gap(self, began, ended):
        """Where it stood still longest between two moments: the number before, and seconds."""
        counts = sorted(item for item in self.read().items() if began <= item[1] <= ended)
        gaps = ((after[1] - before[1], before[0]) for before, after in zip(counts, counts[1:]))
        longest, number = max(gaps)
        return number, longest * SECONDS

    def goes_on(self, last, began):
        """Seconds from `began` until it counts on, from the very next number after `last`."""
        deadline = time.monotonic() + GOES_ON_SECONDS
        while time.monotonic() < deadline:
            # A clock that was read before the freeze may be written after it: then the number after that one is meant.
            for number in (last + 1, last + 2):
                when = self.one(number)
                if when and when > began:
                    return (when - began) * SECONDS
            time.sleep(LOOK_SECONDS)
        raise TimeoutError(f"the counter did not go on after {last}")


class End(threading.Thread):
    """Sees when a process ends."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pidfd, self.at = os.pidfd_open(pid), None
        self.start()

    def run(self):
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.poll()
        self.at = time.time_ns()
        os.close(self.pidfd)

    def after(self, when):
        """Seconds from `when` to the end."""
        self.join(GOES_ON_SECONDS)
        if self.at is None:
            raise TimeoutError("the container was to be ended, and runs")
        return (self.at - when) * SECONDS


def find(ring):
    """The process that counts into this ring, whose name no other ring has."""
    name = os.path.basename(ring).encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if words[0] == b"python3" and words[-1].rsplit(b"/", 1)[-1] == name:
            return int(pid)
    raise LookupError(f"no process counts into {ring}")
