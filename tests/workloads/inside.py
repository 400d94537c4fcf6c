#!/usr/bin/env python3
"""inside.py FILE [alive] [only-unix]: holds one of everything that is shown of a checkpoint; appends to FILE when it is there.

Processes: this one with two named threads, a live child, a zombie (not with `alive`). No stopped one: CRIU waits for ever to
attach to it in a frozen cgroup of version 1. Files: regular at an offset, deleted, a pipe, a FIFO, eventfd, epoll, signalfd,
timerfd, memfd, inotify. Sockets: TCP listening and connected (with bytes unread), UDP bound and connected, IPv6, netlink,
packet (none of these with `only-unix`); Unix by path, abstract and in pairs. Memory: a text that is nowhere else in private and
in shared memory, one across pages, zeros that were written, a mapped file.
"""

import ctypes
import mmap
import os
import signal
import socket
import sys
import threading
import time

LOOPBACK = "127.0.0.1"
BLOCK = 4 << 20
PR_SET_NAME = 15
LIBC = ctypes.CDLL(None)


def named(name):
    LIBC.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def thread(name):
    def body():
        named(name)
        while True:
            time.sleep(1)
    threading.Thread(target=body, daemon=True).start()


def child(name, end):
    pid = os.fork()
    if pid == 0:
        named(name)
        end()
        while True:
            time.sleep(1)
    return pid


def tcp():
    listener = socket.create_server((LOOPBACK, 5000))
    client = socket.create_connection((LOOPBACK, 5000))
    server, _ = listener.accept()
    client.sendall(b"seven b")
    six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    six.bind(("::", 5002))
    six.listen(7)
    return listener, client, server, six


def internet():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((LOOPBACK, 5001))
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect((LOOPBACK, 5001))
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    return tcp(), udp, connected, netlink, packet


def sockets():
    others = () if "only-unix" in sys.argv else internet()
    path = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.bind("/tmp/inside.sock")
    path.listen(3)
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract.bind("\0inside")
    return others, path, abstract, socket.socketpair()


def files():
    regular = os.open("/etc/passwd", os.O_RDONLY)
    os.read(regular, 100)
    deleted = os.open("/tmp/deleted", os.O_CREAT | os.O_RDWR)
    os.unlink("/tmp/deleted")
    os.mkfifo("/tmp/fifo")
    fifo = os.open("/tmp/fifo", os.O_RDWR)
    event = os.eventfd(5)
    epoll = LIBC.epoll_create1(0)
    mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR2 - 1))
    signals = LIBC.signalfd(-1, mask, 0)
    timer = LIBC.timerfd_create(1, 0)
    memory = os.memfd_create("inside-memfd")
    os.truncate(memory, mmap.PAGESIZE)
    watch = LIBC.inotify_init1(0)
    return regular, deleted, os.pipe(), fifo, event, epoll, signals, timer, memory, watch


def memory():
    private = bytearray(b"needle " + b"private %d " % os.getpid()) * 3
    shared = mmap.mmap(-1, BLOCK)
    shared[mmap.PAGESIZE * 5:mmap.PAGESIZE * 5 + 20] = b"needle shared memory"
    zeros = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    zeros[:] = bytes(BLOCK)
    across = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(BLOCK // mmap.PAGESIZE):
        across[page * mmap.PAGESIZE] = page % 256
    for boundary in range(mmap.PAGESIZE, BLOCK, mmap.PAGESIZE * 64):
        across[boundary - 4:boundary + 6] = b"acrosspage"
    mapped = mmap.mmap(os.open("/etc/services", os.O_RDONLY), mmap.PAGESIZE, prot=mmap.PROT_READ)
    return private, shared, zeros, across, mapped


def main():
    kept = sockets(), files(), memory()
    child("alive-child", lambda: None)
    if "alive" not in sys.argv:
        zombie = child("zombie-child", lambda: os._exit(3))
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    thread("first-thread")
    thread("second-thread")
    with open(sys.argv[1], "a", encoding="ascii") as state:
        print("ready", len(kept), file=state, flush=True)
        while True:
            time.sleep(1)


main()
