"""The largest memory of ckpt and the most disk space while a command runs.

Looks every INTERVAL_SECONDS, or less often when looking takes so long that it would slow down what is measured. Disk is
what the files of the host's plain directories occupy, with those that are deleted and still open, above what they
occupied at the start. Layers of podman's images are left out: they do not change, and would take longest.
"""

import os
import threading
import time

INTERVAL_SECONDS = 0.01
# Of one core.
LARGEST_SHARE = 0.04
DIRECTORIES = ("data", "var/tmp", "var/lib/ckpt", "var/lib/containers")
LAYERS = "var/lib/containers/storage/overlay"
BLOCK = 512


class Sampler(threading.Thread):
    def __init__(self, host):
        super().__init__(daemon=True)
        self.directories = [host.outside(path) for path in DIRECTORIES]
        self.layers = host.outside(LAYERS)
        self.device = os.stat(self.directories[0]).st_dev
        self.procs = host.cgroups("cgroups")[0]
        self.shared = next((path for path in host.cgroups("roots") if "/memory/" in path), None)
        self.seen, self.ended = set(), threading.Event()
        self.disk_before, self.shared_before = self.disk(()), self.shared_memory()
        self.memory = self.disk_peak = self.shared_peak = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def figures(self):
        """Bytes."""
        return {"memory": self.memory, "disk": self.disk_peak, "shared_memory": self.shared_peak}

    def run(self):
        pause = 0
        while not self.ended.wait(pause):
            began = time.thread_time()
            self.look()
            pause = max(INTERVAL_SECONDS, (time.thread_time() - began) / LARGEST_SHARE)

    def look(self):
        pids = self.processes()
        self.memory = max(self.memory, self.memory_of_ckpt(pids))
        self.disk_peak = max(self.disk_peak, self.disk(pids) - self.disk_before)
        self.shared_peak = max(self.shared_peak, self.shared_memory() - self.shared_before)

    def processes(self):
        try:
            with open(self.procs) as file:
                return file.read().split()
        except OSError:
            return []

    def memory_of_ckpt(self, pids):
        """VmHWM of every ckpt there is, together."""
        total = 0
        for pid in pids:
            try:
                with open(f"/proc/{pid}/status") as file:
                    status = file.read()
            except OSError:
                continue
            if not status.startswith("Name:\tckpt\n") or "VmHWM:" not in status:
                continue
            # One that is seen for the first time may be a child that shares its parent's memory until it runs another program.
            if pid in self.seen or not total:
                total += int(status.split("VmHWM:")[1].split()[0]) << 10
            self.seen.add(pid)
        return total

    def disk(self, pids):
        found = sum(occupied(path, self.layers) for path in self.directories)
        # A file that grows is seen with another size through each descriptor that there is of it.
        kept = {}
        for pid in pids:
            for inode, size in self.deleted(pid):
                kept[inode] = max(size, kept.get(inode, 0))
        return found + sum(kept.values())

    def deleted(self, pid):
        """Inodes and sizes of files on the disk that only this process's descriptors keep."""
        directory = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(directory)
        except OSError:
            return
        for descriptor in descriptors:
            try:
                if os.readlink(f"{directory}/{descriptor}").endswith(" (deleted)"):
                    status = os.stat(f"{directory}/{descriptor}")
                    # A temporary file without a name is still called deleted when it has been given one.
                    if status.st_dev == self.device and status.st_nlink == 0:
                        yield status.st_ino, status.st_blocks * BLOCK
            except OSError:
                continue

    def shared_memory(self):
        """Of the host: files in tmpfs and memory files, wherever they are."""
        try:
            with open(f"{self.shared}/memory.stat") as file:
                return int(dict(line.split() for line in file).get("total_shmem", 0))
        except OSError:
            return 0


def occupied(directory, left_out):
    """Bytes of the files in a directory that may change meanwhile."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        total += 0 if entry.path == left_out else occupied(entry.path, left_out)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                except OSError:
                    continue
    except OSError:
        pass
    return total
