#!/usr/bin/env python3
"""steady.py FILE MIB [PROCESSES] [SECONDS] [noise]: PROCESSES processes that share MIB of memory out among themselves and count.

Process N appends 1, 2, 3... to FILE (the first one) or FILE.N, one number every SECONDS, and verifies a part of its memory each
time; "FAIL what" is appended where it is not as it was. Its memory is its own: no two have the same. A third of it is zero
pages, a third repeats, a third is noise; with `noise` all of it. FILE.gap has the longest time that the first one stood
still, in milliseconds.
"""

import mmap
import os
import random
import sys
import time
import zlib

BLOCK = 1 << 18
COUNT = 20_000

path, mebibytes = sys.argv[1], float(sys.argv[2])
processes = int(sys.argv[3]) if len(sys.argv) > 3 else 1
seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.05
noise = "noise" in sys.argv


def hold(number):
    """Blocks of memory with their checksums."""
    source = random.Random(number)
    size = int(mebibytes * (1 << 20) / processes) // mmap.PAGESIZE * mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    repeated = source.randbytes(64) * (BLOCK // 64)
    sums = []
    for index, start in enumerate(range(0, size, BLOCK)):
        kind = 2 if noise else index % 3
        block = (bytes(BLOCK), repeated, source.randbytes(BLOCK) if kind == 2 else b"")[kind]
        block = block[:size - start]
        memory[start:start + len(block)] = block
        sums.append(zlib.crc32(block))
    return memory, sums


def count(number):
    memory, sums = hold(number)
    step = max(1, len(sums) // 20)
    longest, before = 0, time.time()
    with open(path if number == 0 else f"{path}.{number}", "a", buffering=1) as file:
        for tick in range(1, COUNT + 1):
            for index in range(tick * step, (tick + 1) * step):
                index %= len(sums)
                start = index * BLOCK
                if zlib.crc32(memory[start:start + BLOCK]) != sums[index]:
                    file.write(f"FAIL memory at {start}\n")
            file.write(f"{tick}\n")
            time.sleep(seconds)
            now = time.time()
            if number == 0 and now - before > longest:
                longest = now - before
                with open(path + ".gap", "w") as gap:
                    gap.write(f"{int(longest * 1000)}\n")
            before = now


for child in range(1, processes):
    if os.fork() == 0:
        count(child)
        os._exit(0)
count(0)
