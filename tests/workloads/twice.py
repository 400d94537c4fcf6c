#!/usr/bin/env python3
"""twice.py FILE COUNT: keeps a number in memory and in FILE, changes it as fast as it can, and appends to COUNT now and then.

FILE is written first. At each turn it must hold what memory has, or a file was taken at another moment than memory: then
"FAIL what" is appended to COUNT.
"""

import os
import sys
import time

TURNS = 500

file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
number = counted = 0
os.pwrite(file, b"%020d" % number, 0)
last = time.time()
with open(sys.argv[2], "a", buffering=1) as count:
    while True:
        with open(sys.argv[1], "rb") as again:
            if (found := int(again.read())) != number:
                count.write(f"FAIL {found} in the file and {number} in memory\n")
        os.pwrite(file, b"%020d" % (number + 1), 0)
        number += 1
        if number % TURNS == 0:
            counted += 1
            count.write(f"{counted}\n")
