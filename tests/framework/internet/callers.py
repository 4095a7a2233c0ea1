"""Callers of a box's published ports, in the namespace they are started in: `callers.py TCP UDP COUNTED HOST…`. Prints JSON."""

import json
import socket
import sys
import threading

AT_ONCE = 200
BYTES = 1 << 20


def greeted(host, port):
    """What the server says to somebody who says nothing."""
    with socket.create_connection((host, port), timeout=8) as stream:
        return stream.recv(99).decode().split()[0]


def counted(host, port):
    """What it says once nothing more comes, which it still can."""
    with socket.create_connection((host, port), timeout=8) as stream:
        stream.sendall(bytes(BYTES))
        stream.shutdown(socket.SHUT_WR)
        return stream.recv(99).decode().split()[0]


def answered(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(8)
        datagrams.sendto(b"hello", (host, port))
        return datagrams.recv(99).decode()


def at_once(host, port):
    """How many of AT_ONCE that call at the same moment are greeted, while all stay connected."""
    streams = []
    found = []

    def call():
        stream = socket.create_connection((host, port), timeout=20)
        streams.append(stream)
        found.append(stream.recv(99).startswith(b"220 "))

    callers = [threading.Thread(target=call) for _ in range(AT_ONCE)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for stream in streams:
        stream.close()
    return sum(found)


def attempt(call, *arguments):
    try:
        return call(*arguments)
    except (OSError, IndexError) as error:
        return repr(error)


def main():
    tcp, count, udp = (int(word) for word in sys.argv[1:4])
    hosts = sys.argv[4:]
    found = {
        host: [attempt(greeted, host, tcp), attempt(counted, host, count), attempt(answered, host, udp)]
        for host in hosts
    }
    print(json.dumps({**found, "at once": attempt(at_once, hosts[0], tcp)}))


if __name__ == "__main__":
    main()
