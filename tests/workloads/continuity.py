#!/usr/bin/env python3
"""continuity.py STATE [options]: holds every kind of process state and checks it for ever.

Each tick (50 ms) appends one line to STATE: "tick N" when everything is as it was, or "FAIL what" when it is not. After a
restore the ticks go on from the very next number and there is no FAIL. What is held:

  memory    a random block whose checksum a thread verifies again and again, and pages rewritten each tick
  threads   each with a counter of its own
  files     one read line by line, one appended to, one deleted while open (a ghost file)
  tmpfs     a file in --tmpfs
  pipes     with bytes left unread in one, and a child that answers over two
  sockets   a pair of Unix sockets, with a message left unread
  signals   a handler the child keeps raising, and a blocked signal that stays pending
  children  a live one, a zombie, and memory shared with the live one
  fds       an epoll instance, an eventfd, a timerfd
  identity  pid, session, working directory, umask, host name, environment, a monotonic clock that does not go back
"""

import argparse
import ctypes
import hashlib
import mmap
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time

TICK_SECONDS = 0.05
PAGE = mmap.PAGESIZE
LEFT_UNREAD = b"still here"
ZOMBIE_STATUS = 7
LINES = 100_000


class Memory:
    """A block that never changes, hashed all the time, and pages that change each tick."""

    def __init__(self, mebibytes):
        self.block = bytearray(random.Random(1).randbytes(mebibytes << 20))
        self.digest = hashlib.sha256(self.block).digest()
        self.rounds = 0
        self.broken = False
        self.pages = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        threading.Thread(target=self.verify, daemon=True).start()

    def verify(self):
        while True:
            self.broken |= hashlib.sha256(self.block).digest() != self.digest
            self.rounds += 1
            time.sleep(0.02)

    def tick(self, number):
        if self.broken:
            yield "memory: checksum"
        for page in range(64):
            if number > 1 and struct.unpack_from("<Q", self.pages, page * PAGE)[0] != number - 1:
                yield f"memory: page {page}"
            struct.pack_into("<Q", self.pages, page * PAGE, number)


class Threads:
    def __init__(self, count):
        self.counters = [0] * count
        self.seen = [0] * count
        self.stalled = 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        while True:
            self.counters[index] += 1
            time.sleep(0.01)

    def tick(self, number):
        if not all(thread.is_alive() for thread in self.threads):
            yield "threads: one is gone"
        # A busy machine may keep a thread waiting for a tick or two, not for a hundred.
        self.stalled = self.stalled + 1 if any(c <= s for c, s in zip(self.counters, self.seen)) else 0
        if self.stalled > 100:
            yield "threads: one does not run"
        if any(c < s for c, s in zip(self.counters, self.seen)):
            yield "threads: counter went back"
        self.seen = list(self.counters)


class Files:
    """Descriptors whose offsets are the state."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, "lines")
        with open(path, "w") as lines:
            lines.writelines(f"{line:07d}\n" for line in range(1, LINES + 1))
        self.reading = os.open(path, os.O_RDONLY)
        self.appending = os.open(os.path.join(directory, "appended"), os.O_RDWR | os.O_CREAT | os.O_APPEND)
        ghost = os.path.join(directory, "ghost")
        self.ghost = os.open(ghost, os.O_RDWR | os.O_CREAT)
        os.write(self.ghost, b"ghost\n")
        os.unlink(ghost)

    def tick(self, number):
        if os.read(self.reading, 8) != b"%07d\n" % ((number - 1) % LINES + 1):
            yield "files: line read"
        if number % LINES == 0:
            os.lseek(self.reading, 0, os.SEEK_SET)
        os.write(self.appending, b"%07d\n" % number)
        if os.fstat(self.appending).st_size != 8 * number:
            yield "files: size of the one appended to"
        if os.pread(self.ghost, 6, 0) != b"ghost\n" or os.lseek(self.ghost, 0, os.SEEK_CUR) != 6:
            yield "files: ghost"


class Tmpfs:
    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.path = os.path.join(directory, "continuity")
        self.content = random.Random(2).randbytes(1 << 20)
        with open(self.path, "wb") as file:
            file.write(self.content)
        self.open = os.open(self.path, os.O_RDWR)

    def tick(self, number):
        with open(self.path, "rb") as file:
            if file.read() != self.content:
                yield "tmpfs: content"
        if os.fstat(self.open).st_ino != os.stat(self.path).st_ino:
            yield "tmpfs: open file is another one"


class Child:
    """A child that answers over pipes, raises signals, and counts in shared memory; and a zombie."""

    def __init__(self):
        self.to_child, self.from_child = os.pipe(), os.pipe()
        self.shared = mmap.mmap(-1, PAGE)
        self.raised = 0
        self.shared_seen = 0
        signal.signal(signal.SIGUSR1, self.on_signal)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        os.kill(os.getpid(), signal.SIGUSR2)
        self.pid = self.fork(self.answer)
        self.zombie = self.fork(lambda: os._exit(ZOMBIE_STATUS))

    @staticmethod
    def fork(run):
        pid = os.fork()
        if pid == 0:
            run()
            os._exit(0)
        return pid

    def on_signal(self, *_):
        self.raised += 1

    def answer(self):
        parent = os.getppid()
        os.close(self.to_child[1])
        os.close(self.from_child[0])
        count = 0
        while question := os.read(self.to_child[0], 8):
            count += 1
            struct.pack_into("<Q", self.shared, 0, count)
            os.kill(parent, signal.SIGUSR1)
            os.write(self.from_child[1], struct.pack("<Q", struct.unpack("<Q", question)[0] + 1))

    def tick(self, number):
        os.write(self.to_child[1], struct.pack("<Q", number))
        if struct.unpack("<Q", read_exactly(self.from_child[0], 8))[0] != number + 1:
            yield "child: answer"
        if struct.unpack_from("<Q", self.shared)[0] != number:
            yield "child: shared memory"
        # The child raises the signal before it answers, and Python runs the handler before the next instruction.
        if self.raised != number:
            yield f"child: {self.raised} signals of {number}"
        if signal.SIGUSR2 not in signal.sigpending():
            yield "signals: the pending one is lost"
        if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            yield "child: gone"
        zombie = os.waitid(os.P_PID, self.zombie, os.WEXITED | os.WNOWAIT)
        if zombie.si_status != ZOMBIE_STATUS:
            yield "child: zombie"


class Descriptors:
    def __init__(self):
        self.pipe = os.pipe()
        os.write(self.pipe[1], LEFT_UNREAD)
        self.sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sockets[0].send(LEFT_UNREAD)
        self.event = os.eventfd(3)
        self.epoll = select.epoll()
        self.epoll.register(self.pipe[0], select.EPOLLIN)
        self.timer = Timer()

    def tick(self, number):
        if os.read(self.pipe[0], 100) != LEFT_UNREAD:
            yield "pipe: what was left unread"
        os.write(self.pipe[1], LEFT_UNREAD)
        if self.sockets[1].recv(100) != LEFT_UNREAD:
            yield "socket pair: what was left unread"
        self.sockets[0].send(LEFT_UNREAD)
        if os.eventfd_read(self.event) != 3:
            yield "eventfd: value"
        os.eventfd_write(self.event, 3)
        if self.epoll.poll(0) != [(self.pipe[0], select.EPOLLIN)]:
            yield "epoll: event"
        if not self.timer.goes_on():
            yield "timerfd: remaining time"


class Timer:
    """A timerfd set to go off in an hour. Python has had them only since 3.13, hence libc's.

    Not a periodic one: CRIU restores a periodic timerfd that has gone off and was not read yet as disarmed (seen with 4.2.1),
    because the kernel shows no remaining time for it then, and one goes on expiring while its tasks are frozen.
    """

    SECONDS = 3600

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
        setting = struct.pack("<qqqq", 0, 0, self.SECONDS, 0)
        if self.fd < 0 or self.libc.timerfd_settime(self.fd, 0, setting, None) < 0:
            sys.exit("no timerfd")
        self.before = self.remaining()

    def remaining(self):
        setting = ctypes.create_string_buffer(32)
        self.libc.timerfd_gettime(self.fd, setting)
        seconds, nanoseconds = struct.unpack_from("<qq", setting, 16)
        return seconds + nanoseconds / 1e9

    def goes_on(self):
        now, before = self.remaining(), self.before
        self.before = now
        return 0 < now <= before


class Identity:
    def __init__(self):
        os.environ["CONTINUITY"] = "kept"
        os.umask(0o027)
        self.before = self.now()
        self.clock = time.monotonic()

    @staticmethod
    def now():
        umask = os.umask(0)
        os.umask(umask)
        return (os.getpid(), os.getsid(0), os.getpgid(0), os.getuid(), os.getcwd(), umask, os.uname().nodename,
                os.environ["CONTINUITY"], os.getpriority(os.PRIO_PROCESS, 0))

    def tick(self, number):
        if (now := self.now()) != self.before:
            yield f"identity: {self.before} became {now}"
        if (clock := time.monotonic()) < self.clock:
            yield "identity: the monotonic clock went back"
        self.clock = time.monotonic()


def read_exactly(fd, size):
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state")
    parser.add_argument("--files", default="/var/tmp/continuity")
    parser.add_argument("--tmpfs", default="/dev/shm")
    parser.add_argument("--memory", type=int, default=16, help="MiB")
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--ticks", type=int, default=20_000, help="how many before it ends by itself")
    return parser.parse_args()


def main():
    wanted = arguments()
    # Children are made before threads: fork copies only the thread that calls it.
    held = [Child(), Descriptors(), Files(wanted.files), Tmpfs(wanted.tmpfs), Identity(), Threads(wanted.threads),
            Memory(wanted.memory)]
    with open(wanted.state, "a", buffering=1) as state:
        for number in range(1, wanted.ticks + 1):
            failures = [failure for part in held for failure in part.tick(number)]
            for failure in failures:
                state.write(f"FAIL {failure} at tick {number}\n")
            state.write(f"tick {number}\n")
            time.sleep(TICK_SECONDS)


main()
