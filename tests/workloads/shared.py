#!/usr/bin/env python3
"""shared.py FILE: two processes that share memory in every way there is: anonymous memory, a memfd, a System V segment.

Each segment holds noise whose checksum both verify, and two numbers. Every 50 ms the parent writes the next number into each
and appends it to FILE once the child has answered with the same in the other place: what one writes the other reads. Where
something is not as it was, either appends "FAIL what".
"""

import ctypes
import mmap
import os
import random
import struct
import time
import sys
import zlib

SIZE = 1 << 20
COUNT = 20_000
# Longer than any dump, shorter than a test's patience.
PATIENCE_SECONDS = 20


class Segment(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * SIZE)]


def system_v():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    identifier = libc.shmget(0, SIZE, 0o1600)
    address = libc.shmat(identifier, None, 0)
    if identifier < 0 or address in (None, ctypes.c_void_p(-1).value):
        sys.exit("no System V shared memory")
    return memoryview(Segment.from_address(address).bytes).cast("B")


def memfd():
    descriptor = os.memfd_create("shared")
    os.truncate(descriptor, SIZE)
    return descriptor, mmap.mmap(descriptor, SIZE)


def wrong(segments, sums):
    return [name for name, segment in segments.items() if zlib.crc32(bytes(segment[16:])) != sums[name]]


def say(text):
    with open(sys.argv[1], "a") as file:
        file.write(f"{text}\n")


descriptor, mapped = memfd()
segments = {"anonymous": mmap.mmap(-1, SIZE), "memfd": mapped, "System V": system_v()}
sums = {}
for name, segment in segments.items():
    segment[16:] = random.Random(name).randbytes(SIZE - 16)
    sums[name] = zlib.crc32(bytes(segment[16:]))

parent = os.getpid()
if os.fork() == 0:
    # Through a mapping of its own, where that is possible.
    segments["memfd"] = mmap.mmap(descriptor, SIZE)
    while os.getppid() == parent:
        for name in wrong(segments, sums):
            say(f"FAIL {name} in the child")
        for segment in segments.values():
            segment[8:16] = bytes(segment[0:8])
        time.sleep(0.005)
    os._exit(0)

for number in range(1, COUNT + 1):
    for name in wrong(segments, sums):
        say(f"FAIL {name} in the parent")
    for name, segment in segments.items():
        segment[0:8] = struct.pack("<Q", number)
    began = time.time()
    while any(bytes(segment[8:16]) != bytes(segment[0:8]) for segment in segments.values()):
        time.sleep(0.002)
        if time.time() - began > PATIENCE_SECONDS:
            say("FAIL the child does not answer")
            began = time.time()
    say(number)
    time.sleep(0.05)
