#!/usr/bin/env python3
"""churn.py FILE: counts into FILE while two children fork, map and unmap memory as fast as they can."""

import mmap
import os
import random
import sys
import time

COUNT = 20_000
MAPPINGS = 32


def churn(seed):
    source = random.Random(seed)
    held = []
    while True:
        for _ in range(8):
            mapping = mmap.mmap(-1, mmap.PAGESIZE << source.randrange(8), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            mapping[0] = 1
            held.append(mapping)
        while len(held) > MAPPINGS:
            held.pop(source.randrange(len(held))).close()
        child = os.fork()
        if child == 0:
            held.pop().close()
            os._exit(0)
        os.waitpid(child, 0)


for seed in range(2):
    if os.fork() == 0:
        churn(seed)
with open(sys.argv[1], "a", buffering=1) as file:
    for number in range(1, COUNT + 1):
        file.write(f"{number}\n")
        time.sleep(0.05)
