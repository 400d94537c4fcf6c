#!/usr/bin/env python3
"""zeros.py: three generations of a process with memory that is zero in other places, each.

Zeros lie over what the parent has there, in memory that is shared, and over the content of a file. Writes /ready-ROLE when
a process has all of it; when /check is there, it writes ok or the names of the areas that changed to /checked-ROLE."""

import hashlib
import mmap
import os
import time

PAGE, PAGES = 4096, 4096
# Every page of the file is its number, so a zero page of it must not become the file's.
with open("/private", "wb") as file:
    for number in range(PAGES):
        file.write((number + 1).to_bytes(4, "little") * (PAGE // 4))
with open("/private", "r+b") as file:
    areas = {
        "anonymous": mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),
        "shared": mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
        "file": mmap.mmap(file.fileno(), PAGES * PAGE, flags=mmap.MAP_PRIVATE),
    }


def fill(area, pages, byte):
    for number in pages:
        area[number * PAGE:(number + 1) * PAGE] = bytes([byte]) * PAGE


def digests(names):
    return {name: hashlib.sha256(areas[name]).hexdigest() for name in names}


def report(role):
    # What is shared changes with the others until all are ready.
    private = digests(["anonymous", "file"])
    with open(f"/ready-{role}", "w") as ready:
        ready.write("ready\n")
    while not os.path.exists("/go"):
        time.sleep(0.05)
    before = private | digests(["shared"])
    with open(f"/known-{role}", "w") as known:
        known.write("known\n")
    while not os.path.exists("/check"):
        time.sleep(0.05)
    changed = [name for name, digest in digests(areas).items() if digest != before[name]]
    with open(f"/checked-{role}.new", "w") as checked:
        checked.write(" ".join(changed) or "ok")
    os.rename(f"/checked-{role}.new", f"/checked-{role}")
    while True:
        time.sleep(1)


for area in areas.values():
    fill(area, range(0, 1000), 1)
    fill(area, range(1000, 3000), 0)
    fill(area, range(3000, 3100, 2), 0)
if os.fork():
    report("parent")
for area in areas.values():
    # Zeros over what the parent has, and something over its zeros; most stays shared with it.
    fill(area, range(100, 300), 0)
    fill(area, range(1500, 1600), 2)
    fill(area, range(3500, 3600), 0)
if os.fork():
    report("child")
for area in areas.values():
    fill(area, range(200, 250), 3)
    fill(area, range(1550, 1580), 0)
    fill(area, range(2000, 2001), 4)
report("grandchild")
