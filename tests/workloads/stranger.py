#!/usr/bin/env python3
"""stranger.py OUT: knocks at every TCP port that a program of this host begins to listen on at 127.0.0.1, for ten seconds.

Appends "turned away" to OUT where the other end closes the connection, "answered" where it sends something. To be started
before the server is.
"""

import select
import socket
import sys
import time

LISTENING = "0A"
LOOPBACK = "0100007F"
# A bad page server header and more, as CRIU would begin.
GARBAGE = b"\xff" * 64


def listeners():
    with open("/proc/net/tcp") as table:
        fields = [line.split() for line in table.readlines()[1:]]
    addresses = (line[1].split(":") for line in fields if line[3] == LISTENING)
    return {int(port, 16) for address, port in addresses if address == LOOPBACK}


def knock(port, out):
    client = socket.create_connection(("127.0.0.1", port))
    try:
        client.sendall(GARBAGE)
        ready = select.select([client], [], [], 5)[0]
        out.write("answered\n" if ready and client.recv(1) else "turned away\n" if ready else "left waiting\n")
    except ConnectionError:
        out.write("turned away\n")


known = listeners()
until = time.time() + 10
with open(sys.argv[1], "a", buffering=1) as out:
    out.write("ready\n")
    while time.time() < until:
        for port in listeners() - known:
            try:
                knock(port, out)
            except ConnectionRefusedError:
                pass
