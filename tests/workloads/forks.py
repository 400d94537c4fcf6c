#!/usr/bin/env python3
"""forks.py STATE [MIB]: forks all the time, and each child checks memory that it has from its parent.

Appends one line to STATE for each child: "tick N", or "FAIL what". The parent itself never reads the memory, so that a lazy
restore has it missing in the children, too; it unmaps and moves parts of other memory meanwhile.
"""

import hashlib
import mmap
import os
import random
import sys
import time

STATE, MEBIBYTES = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 64
PART = 1 << 20

block = mmap.mmap(-1, MEBIBYTES << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block[:] = random.Random(1).randbytes(MEBIBYTES << 20)
digest = hashlib.sha256(block).digest()
moved = mmap.mmap(-1, 8 * PART, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for part in range(8):
    moved[part * PART:part * PART + 8] = part.to_bytes(8, "little")

with open(STATE, "a", buffering=1) as state:
    for number in range(1, 20_000):
        child = os.fork()
        if child == 0:
            os._exit(0 if hashlib.sha256(block).digest() == digest else 1)
        # mremap and madvise are what CRIU's daemon has to hear of.
        moved.resize((8 + number % 4) * PART)
        if int.from_bytes(moved[7 * PART:7 * PART + 8], "little") != 7:
            state.write(f"FAIL moved memory at tick {number}\n")
        _, status = os.waitpid(child, 0)
        if status != 0:
            state.write(f"FAIL memory of a child at tick {number}\n")
        state.write(f"tick {number}\n")
        time.sleep(0.02)
