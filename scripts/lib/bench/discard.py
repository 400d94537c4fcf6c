#!/usr/bin/env python3
"""discard.py PORT HEADER: a CRIU page server that throws every page away. Runs on a test host.

What it costs to dump into it is what a dump costs where memory goes nowhere: the floor that an export is measured against.
HEADER is 24 (CRIU up to 4.1.1, nr_pages is a u32) or 32 (4.2 on, a u64 behind four bytes of padding). Bytes are received into
one buffer that fits a cache, as any receiver that wants them has to; nothing is parsed but headers. Prints `ready` when
it listens and, at the end, how many bytes of pages came. Serves one dump.
"""

import socket
import struct
import sys

PAGE = 4096
BUFFER = 256 << 10
LAYOUT = {24: struct.Struct("<IIQQ"), 32: struct.Struct("<I4xQQQ")}

# Commands, the low 16 bits of the first field; the flags of a page are in the high 16.
ADD, HOLE, OPEN, OPEN2, PARENT, ADD_F = 1, 2, 3, 4, 5, 6
ENDS = (0x1023, 0x1024)
PRESENT = 4

NO_PARENT_BYTE = b"\0"
NO_PARENT = struct.pack("<i", 0)
STATUS_OK = struct.pack("<i", 0)


def receive_header(connection, layout):
    data = b""
    while len(data) < layout.size:
        more = connection.recv(layout.size - len(data))
        if not more:
            return None
        data += more
    return layout.unpack(data)


def discard(connection, length, buffer):
    while length:
        got = connection.recv_into(buffer, min(length, len(buffer)))
        if not got:
            sys.exit("the connection ended in the middle of pages")
        length -= got


def serve(connection, layout):
    buffer, total = memoryview(bytearray(BUFFER)), 0
    while header := receive_header(connection, layout):
        command, flags, pages = header[0] & 0xFFFF, header[0] >> 16, header[1]
        if command == ADD or (command == ADD_F and flags & PRESENT):
            discard(connection, pages * PAGE, buffer)
            total += pages * PAGE
        elif command == OPEN2:
            connection.sendall(NO_PARENT_BYTE)
        elif command == PARENT:
            connection.sendall(NO_PARENT)
        elif command in ENDS:
            connection.sendall(STATUS_OK)
        elif command not in (HOLE, OPEN, ADD_F):
            sys.exit(f"unknown command {command:#x}")
    return total


def main():
    port, layout = int(sys.argv[1]), LAYOUT[int(sys.argv[2])]
    with socket.create_server(("127.0.0.1", port)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(serve(connection, layout), flush=True)


main()
