"""Containers of memhog.py: the same program and memory, made by runc or by podman.

Each counts into a ring of its own in RINGS, a tmpfs of the host bound into the container, so that neither the disk nor a write
barrier of its file system holds the counter up.
"""

import itertools
import os
import time

from bench.host import Failed
from bench.ticks import Counter

RINGS = "/run/bench"
BUNDLE = "/data/mem"
NAME = "mem"
READY_SECONDS = 120
LOOK_SECONDS = 0.1
# Long enough that the first count is there, and that the pages of start-up are not still being touched.
SETTLE_SECONDS = 0.5

numbers = itertools.count(1)


def program(size):
    """The ring and the command of a container of `size` MiB."""
    # Two benches at once look for their counters among the same processes.
    ring = f"ring-{os.getpid()}-{next(numbers)}"
    return f"{RINGS}/{ring}", f"python3 /opt/workloads/memhog.py {size} {RINGS}/ready-{ring} {RINGS}/{ring}"


def wait(host, ring):
    ready = f"{RINGS}/ready-{ring.rsplit('/', 1)[1]}"
    deadline = time.monotonic() + READY_SECONDS
    while host.attempt("test", "-e", ready, "-a", "-s", ring).returncode:
        if time.monotonic() > deadline:
            raise Failed("the container does not start")
        time.sleep(LOOK_SECONDS)
    time.sleep(SETTLE_SECONDS)
    return Counter(host, ring)


def start_runc(host, size):
    ring, command = program(size)
    host.run(f"mkdir -p {RINGS}\n"
             f"/opt/workloads/mkbundle {BUNDLE} --base debian --rootfs overlay --bind {RINGS}:{RINGS} -- {command}\n"
             f"runc run -d --bundle {BUNDLE} {NAME} </dev/null >/dev/null 2>&1")
    return wait(host, ring)


def stop_runc(host):
    """Whatever is left of it, where it was made and where ckpt restored it."""
    host.run(f"runc delete -f {NAME} >/dev/null 2>&1 || :\n"
             f"for bundle in {BUNDLE} /data/again; do\n"
             "  umount $bundle/rootfs 2>/dev/null || :\n"
             "  rm -rf $bundle\n"
             "done\n"
             f"rm -rf {RINGS}")


# podman says on every start that version 1 cgroups will go.
PODMAN = "PODMAN_IGNORE_CGROUPSV1_WARNING=1 podman --runtime runc"
IMAGE = "localhost/bench"


def make_image(host):
    """podman exports no containers without an image. From the same tree, without what Python does not need."""
    host.run(f"{PODMAN} image exists {IMAGE} && exit\n"
             # Status 1 says that a file changed meanwhile: others use the same tree, and mount over it.
             "tar --exclude=./usr/lib/postgresql --exclude=./usr/share --exclude='*LLVM*' -C /workloads/debian -cf /data/image.tar . "
             "|| [ $? = 1 ]\n"
             "tar -C / -rf /data/image.tar opt/workloads\n"
             f"{PODMAN} import -q /data/image.tar {IMAGE} >/dev/null 2>&1\n"
             "rm /data/image.tar")


def start_podman(host, size):
    make_image(host)
    ring, command = program(size)
    host.run(f"mkdir -p {RINGS}\n"
             f"{PODMAN} run -d --name {NAME} --network none -v {RINGS}:{RINGS} {IMAGE} {command} </dev/null >/dev/null 2>&1")
    return wait(host, ring)


def stop_podman(host):
    host.run(f"{PODMAN} rm -f -t 0 {NAME} >/dev/null 2>&1 || :\nrm -rf {RINGS}")
