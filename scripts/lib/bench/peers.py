"""The tools that are compared: how each takes a container to a file, and back.

A peer says what is typed; `measure_export` and `measure_import` time it and look at the counter meanwhile. What is measured of every
tool is what its user waits for: the whole command, or pipeline.
"""

import json

from bench import container, stats, ticks
from bench.sampler import Sampler

ARCHIVE = "/data/mem.archive"


class Ckpt:
    """ckpt at one level: export, eager import and, where there is one, lazy import of the same archive."""

    def __init__(self, host, level=None):
        self.host, self.level = host, level

    def start(self, size):
        return container.start_runc(self.host, size)

    def export(self, leave):
        level = f"--level {self.level}" if self.level else ""
        return f"ckpt export -q --json {level} {'--leave-running' if leave else ''} -o {ARCHIVE} {container.NAME}"

    def read(self, output):
        found = json.loads(output[output.index("{"):])
        return {"frozen": found["frozen_seconds"], "content": found["content_bytes"]}

    def clear(self):
        self.host.run(f"runc delete -f {container.NAME} 2>/dev/null || :")

    def restores(self):
        command = (f"ckpt import -q --bundle /data/again --root /workloads/debian --allow-mount {container.RINGS} "
                   f"{ARCHIVE} </dev/null >/dev/null")
        yield "import", command
        if self.level is None and "--lazy" in self.host.run("ckpt import --help"):
            yield "lazy", command.replace("import -q", "import -q --lazy")

    def between(self):
        self.host.run(f"runc delete -f {container.NAME}; umount /data/again/rootfs; rm -rf /data/again")

    def stop(self):
        container.stop_runc(self.host)


class Hand:
    """runc, tar and zstd, as somebody without a tool would."""

    def __init__(self, host):
        self.host = host

    def start(self, size):
        return container.start_runc(self.host, size)

    def export(self, leave):
        return (f"mkdir /data/hand; runc checkpoint {'--leave-running' if leave else ''} --image-path /data/hand/images "
                f"--work-path /data/hand/work {container.NAME}\n"
                f"tar -C /data/hand -c images | zstd -q -T0 -3 -o {ARCHIVE}")

    def read(self, _output):
        return {"frozen": stats.dump(self.host.outside("/data/hand/work/stats-dump"))["frozen"]}

    def clear(self):
        self.host.run(f"runc delete -f {container.NAME} 2>/dev/null || :\nrm -rf /data/hand")

    def restores(self):
        yield "import", (f"mkdir /data/hand; zstd -qdc {ARCHIVE} | tar -C /data/hand -x\n"
                         f"runc restore -d --bundle {container.BUNDLE} --image-path /data/hand/images --work-path /data/hand/work "
                         f"{container.NAME} </dev/null >/dev/null 2>&1")

    def stop(self):
        container.stop_runc(self.host)
        self.host.run("rm -rf /data/hand")


class Podman:
    """podman with one kind of compression."""

    def __init__(self, host, compression):
        self.host, self.compression = host, compression

    def start(self, size):
        return container.start_podman(self.host, size)

    def export(self, leave):
        return (f"{container.PODMAN} container checkpoint --print-stats {'-R' if leave else ''} -e {ARCHIVE} -c {self.compression} "
                f"{container.NAME}")

    def read(self, output):
        found = json.loads(output[output.index("{"):])["container_statistics"]
        return {"frozen": found[0]["criu_statistics"]["frozen_time"] * stats.MICROSECONDS}

    def clear(self):
        # It would be in the way of the restored one, which has the same ID.
        self.host.run(f"{container.PODMAN} rm -f -t 0 {container.NAME} >/dev/null 2>&1")

    def restores(self):
        yield "import", f"{container.PODMAN} container restore -i {ARCHIVE} </dev/null >/dev/null"

    def stop(self):
        container.stop_podman(self.host)


class CkptPodman(Ckpt):
    """ckpt with a container of podman's: out of podman, and into it again."""

    def start(self, size):
        return container.start_podman(self.host, size)

    def export(self, leave):
        return super().export(leave).replace("ckpt export", "ckpt export --runtime podman")

    def clear(self):
        self.host.run(f"{container.PODMAN} rm -f -t 0 {container.NAME} >/dev/null 2>&1")

    def restores(self):
        yield "import", f"ckpt import -q --runtime podman --allow-mount {container.RINGS} {ARCHIVE} </dev/null >/dev/null"

    def stop(self):
        container.stop_podman(self.host)


def measure(host, script):
    """The seconds of timed.py and the bytes of the sampler."""
    with Sampler(host) as sampler:
        result = host.timed(script)
    return {**result, **sampler.figures()}


def measure_export(peer, counter, leave):
    """Figures, and the number that the dumped counter ended with."""
    end = ticks.End(counter.pid)
    result = measure(peer.host, peer.export(leave))
    result.update(peer.read(result.pop("output")))
    if leave:
        last, result["still"] = counter.longest_gap(result["began_ns"], result["ended_ns"])
    else:
        last, last_at = counter.last()
        result["still"] = end.after(last_at)
    result["archive"] = int(peer.host.run(f"stat -c %s {ARCHIVE}"))
    result["disk_above"] = max(0, result["disk"] - result["archive"])
    return result, last


def measure_import(peer, counter, last, script):
    result = measure(peer.host, script)
    result.pop("output")
    result["goes_on"] = counter.goes_on(last, result["began_ns"])
    return result


def round_trip(peer, size, leave=False, look=None):
    """One export and every import there is of it. `look` examines the archive in between."""
    counter = peer.start(size)
    try:
        export, last = measure_export(peer, counter, leave)
        peer.clear()
        found = {"export": export}
        if look:
            found["reading"] = look(peer.host, ARCHIVE, export.get("content"))
        for number, (name, script) in enumerate(peer.restores()):
            if number:
                peer.between()
            found[name] = measure_import(peer, counter, last, script)
        return found
    finally:
        counter.close()
        peer.stop()
        peer.host.run(f"rm -f {ARCHIVE}")


def names(host):
    """Every peer there is here, and how it is made."""
    found = {"ckpt": Ckpt}
    if "auto" in host.run("ckpt export --help").split("--level", 1)[1].split("--threads", 1)[0]:
        found["ckpt-3"] = lambda host: Ckpt(host, 3)
    for compression in ("zstd", "gzip", "none"):
        found[f"podman-{compression}"] = lambda host, compression=compression: Podman(host, compression)
    return {**found, "ckpt-podman": CkptPodman, "hand": Hand}
