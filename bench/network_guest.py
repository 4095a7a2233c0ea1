"""What bench/network.py runs inside each contender: `python3 network_guest.py HOST PORT MEGABYTES`. Prints one JSON line."""

import json
import socket
import sys
import threading
import time

HOST, PORT, MEGABYTES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CONNECTIONS, AT_ONCE, ROUND_TRIPS = 200, 200, 300


def connect():
    stream = socket.create_connection((HOST, PORT), timeout=120)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def received():
    """MB/s from the host."""
    buffer = bytearray(1 << 18)
    with connect() as stream:
        begun = time.monotonic()
        stream.sendall(b"D%08d" % MEGABYTES)
        total = 0
        while count := stream.recv_into(buffer):
            total += count
        return total / 1e6 / (time.monotonic() - begun)


def sent():
    """MB/s to the host, until it says that it has them."""
    block = bytes(1 << 18)
    with connect() as stream:
        begun = time.monotonic()
        stream.sendall(b"U%08d" % MEGABYTES)
        for _ in range(MEGABYTES * 4):
            stream.sendall(block)
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)
        return MEGABYTES * len(block) * 4 / 1e6 / (time.monotonic() - begun)


def once():
    with connect() as stream:
        stream.sendall(b"E00000000x")
        assert stream.recv(1) == b"x"


def connections():
    """Connections a second, one after the other, with one byte there and back."""
    begun = time.monotonic()
    for _ in range(CONNECTIONS):
        once()
    return CONNECTIONS / (time.monotonic() - begun)


def at_once():
    """Milliseconds until 200 connections that are all open have been answered."""
    begun = time.monotonic()
    streams = [connect() for _ in range(AT_ONCE)]
    for stream in streams:
        stream.sendall(b"E00000000x")
    for stream in streams:
        assert stream.recv(1) == b"x"
        stream.close()
    return (time.monotonic() - begun) * 1000


def latency():
    """Milliseconds of a byte there and back, on average: an emulated clock may tick only every four of them."""
    with connect() as stream:
        stream.sendall(b"E00000000")
        begun = time.monotonic()
        for _ in range(ROUND_TRIPS):
            stream.sendall(b"x")
            stream.recv(1)
        return (time.monotonic() - begun) * 1000 / ROUND_TRIPS


once()
threading.stack_size(1 << 17)
outcome = {
    function.__name__: round(function(), 2) for function in (received, sent, connections, at_once, latency)
}
print("RESULT " + json.dumps(outcome), flush=True)
