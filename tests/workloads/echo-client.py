#!/usr/bin/env python3
"""echo-client.py HOST FILE: talks to echo.sh over one connection, for ever.

Sends 1, 2, 3..., waits for each to come back with the right number, and appends it to FILE. "FAIL what" is the last line
where one does not.
"""

import socket
import sys
import time

host, path = sys.argv[1:3]
PATIENCE = 60


def talk(file):
    with socket.create_connection((host, 7000), timeout=PATIENCE) as connection:
        answers = connection.makefile("r")
        number = 0
        while True:
            number += 1
            connection.sendall(f"{number}\n".encode())
            answer = answers.readline()
            if answer != f"{number} {number}\n":
                file.write(f"FAIL {answer!r} instead of {number}\n")
                return
            file.write(f"{number}\n")
            time.sleep(0.05)


with open(path, "a", buffering=1) as file:
    try:
        talk(file)
    except OSError as error:
        file.write(f"FAIL {error!r}\n")
