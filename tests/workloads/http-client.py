#!/usr/bin/env python3
"""http-client.py HOST FILE [N]: asks nginx for /ping N times over one kept-alive connection.

nginx answers with the number of the connection and of the request on it, so FILE shows that it is one connection all the
way; if it breaks, FILE ends with "FAIL ...".
"""

import http.client
import sys
import time

host, path = sys.argv[1:3]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
connection = http.client.HTTPConnection(host, 8080, timeout=120)
connection.connect()
# http.client would quietly connect again.
connection.auto_open = 0
with open(path, "a", buffering=1) as file:
    for number in range(1, count + 1):
        try:
            connection.request("GET", "/ping")
            answer = connection.getresponse().read().decode().split()
        except (OSError, http.client.HTTPException) as error:
            file.write(f"FAIL {error!r} after {number - 1}\n")
            sys.exit(1)
        if answer[0] != "pong" or answer[2] != str(number):
            file.write(f"FAIL {answer} instead of request {number}\n")
            sys.exit(1)
        file.write(f"{number}\n")
        time.sleep(0.05)
