#!/usr/bin/env python3
"""memhog.py MIB READY [TICKS]: holds MIB of mixed memory: a quarter each of zero pages, text, noise and Python objects.
Writes READY when all of it is there. Then sleeps, or counts into the ring TICKS about a thousand times a second, so that
somebody outside sees from when to when it stood still. For benchmarks.

The ring is a file of SLOTS pairs of little endian u64: number N is in slot N % SLOTS, with the nanoseconds since 1970 at
which it was counted. The real time clock, because the monotonic one of a restored container is another one."""

import os
import random
import struct
import sys
import time

SLOTS = 1 << 18
TICK_SECONDS = 0.001
PAIR = struct.Struct("<QQ")

total, ready = int(sys.argv[1]) << 20, sys.argv[2]
quarter = total // 4
random.seed(1)
WORDS = [bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 11))) for _ in range(4096)]


def text(size):
    line = b" ".join(random.choices(WORDS, k=1 << 16))
    block = bytearray()
    while len(block) < size:
        # Rotated and numbered, so that no window finds a whole earlier block again.
        cut = random.randrange(len(line))
        block += b"%d " % len(block) + line[cut:] + line[:cut]
    return block[:size]


def heap(size):
    # About 390 bytes an object in CPython, the strings included.
    return [{"number": n, "name": f"object {n}", "value": n * 0.5} for n in range(size // 390)]


def count(path):
    ring = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    # Of its full size from the start: CRIU refuses a file that grew after the dump.
    os.truncate(ring, SLOTS * PAIR.size)
    number = 0
    while True:
        number += 1
        os.pwrite(ring, PAIR.pack(number, time.time_ns()), number % SLOTS * PAIR.size)
        time.sleep(TICK_SECONDS)


held = [bytearray(quarter), text(quarter), bytearray(random.randbytes(quarter)), heap(quarter)]
# A zero page is written to once, or it would be the kernel's shared one and not be dumped at all.
for offset in range(0, quarter, 4096):
    held[0][offset] = 0
with open(ready, "w") as file:
    file.write("ready\n")
if len(sys.argv) > 3:
    count(sys.argv[3])
while True:
    time.sleep(1)
