#!/usr/bin/env python3
"""A client of redis that never reconnects.

  redis-client.py HOST load COUNT          sets key:1 ... key:COUNT
  redis-client.py HOST check COUNT         every one of them has its value; prints how many
  redis-client.py HOST steady FILE [N]     increments one counter N times over one connection, writing each answer to FILE

`steady` is the proof that an established connection goes on: the server's counter and its own must stay the same, and if the
connection breaks it writes "FAIL ..." and ends.
"""

import hashlib
import socket
import sys
import time

PORT = 6379
BATCH = 1000
# Longer than any dump and restore, retransmissions included, and shorter than a test's patience.
ANSWER_TIMEOUT = 120
STEADY_SECONDS = 0.05


class Redis:
    def __init__(self, host):
        self.socket = socket.create_connection((host, PORT), timeout=ANSWER_TIMEOUT)
        self.answers = self.socket.makefile("rb")

    def send(self, *commands):
        self.socket.sendall(b"".join(map(encode, commands)))

    def answer(self):
        line = self.answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return self.answers.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.send(words)
        return self.answer()


def encode(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def value(number):
    return hashlib.sha256(b"%d" % number).hexdigest()


def batches(count):
    for first in range(1, count + 1, BATCH):
        yield range(first, min(first + BATCH, count + 1))


def load(redis, count):
    for numbers in batches(count):
        redis.send(*(("SET", f"key:{number}", value(number)) for number in numbers))
        for _ in numbers:
            redis.answer()


def check(redis, count):
    good = 0
    for numbers in batches(count):
        redis.send(*(("GET", f"key:{number}") for number in numbers))
        good += sum(redis.answer() == value(number).encode() for number in numbers)
    print(good)
    return good == count


def steady(redis, path, count):
    key = f"steady:{time.time_ns()}"
    with open(path, "a", buffering=1) as file:
        for number in range(1, count + 1):
            try:
                answer = redis.ask("INCR", key)
            except OSError as error:
                file.write(f"FAIL {error!r} after {number - 1}\n")
                return False
            if answer != number:
                file.write(f"FAIL {answer} instead of {number}\n")
                return False
            file.write(f"{answer}\n")
            time.sleep(STEADY_SECONDS)
    return True


def main():
    host, command, *rest = sys.argv[1:]
    redis = Redis(host)
    if command == "load":
        return load(redis, int(rest[0])) or True
    if command == "check":
        return check(redis, int(rest[0]))
    return steady(redis, rest[0], int(rest[1]) if len(rest) > 1 else 20_000)


sys.exit(0 if main() else 1)
