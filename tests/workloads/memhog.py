#!/usr/bin/env python3
"""memhog.py MIB READY: holds MIB of mixed memory and then sleeps: a quarter each of zero pages, text, noise and Python
objects. Writes READY when all of it is there. For benchmarks."""

import random
import sys
import time

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


held = [bytearray(quarter), text(quarter), bytearray(random.randbytes(quarter)), heap(quarter)]
# A zero page is written to once, or it would be the kernel's shared one and not be dumped at all.
for offset in range(0, quarter, 4096):
    held[0][offset] = 0
with open(ready, "w") as file:
    file.write("ready\n")
while True:
    time.sleep(1)
