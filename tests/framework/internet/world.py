"""Servers of a small internet: whatever they are asked, they say which of their addresses was reached.

`python world.py SNIFF_FILE` listens on every port of PORTS and on UDP, until its standard input ends. Packets with MARKER in
them are written to SNIFF_FILE, however they came.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading

PORTS = (22, 53, 80, 443, 853, 5222, 8080, 8443)
UDP_PORTS = (53, 123, 443, 5000)
IP_PKTINFO = 8  # Python 3.11 has no name for it
MARKER = b"ESCAPED-FROM-THE-BOX"
BANNER = b"SSH-2.0-world\r\n"


def answer(connection: socket.socket) -> None:
    """Text for people; a TLS record around it for who speaks TLS; a banner first on port 22."""
    host, port = connection.getsockname()[:2]
    said = f"REACHED {host.removeprefix('::ffff:')} {port}".encode()
    with contextlib.suppress(OSError), connection:
        connection.settimeout(10)
        if port == 22:
            connection.sendall(BANNER + said)
        data = connection.recv(65536)
        if data.startswith(b"BULK"):
            bulk(connection, data)
        elif data[:1] == b"\x16":
            connection.sendall(b"\x16\x03\x03" + struct.pack(">H", len(said)) + said)
        elif data[:5] in (b"GET /", b"POST "):
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(said)}\r\n\r\n"
            connection.sendall(head.encode() + said)
        elif data:
            connection.sendall(said)


def bulk(connection: socket.socket, data: bytes) -> None:
    """`BULK RECEIVE\\n` and bytes to the end: how many there were. `BULK SEND N\\n`: N bytes."""
    line, _, rest = data.partition(b"\n")
    words = line.split()
    if words[1] == b"SEND":
        left, block = int(words[2]), bytes(1 << 20)
        while left:
            left -= connection.send(block[: min(left, len(block))])
        return
    total = len(rest)
    while more := connection.recv(1 << 20):
        total += len(more)
    connection.sendall(str(total).encode())


def serve_tcp(port: int) -> None:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def serve_udp(port: int, family: socket.AddressFamily) -> None:
    """Answers from the address that was asked (ip(7): IP_PKTINFO; ipv6(7): IPV6_PKTINFO)."""
    server = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        server.setsockopt(socket.SOL_IP, IP_PKTINFO, 1)
        server.bind(("0.0.0.0", port))
    else:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        server.bind(("::", port))
    while True:
        data, ancillary, _, sender = server.recvmsg(65536, 256)
        level, kind, stored = ancillary[0]
        packed = stored[8:12] if family == socket.AF_INET else stored[:16]
        source = struct.pack("=I4s4s", 0, packed, packed) if family == socket.AF_INET else packed + bytes(4)
        reply = (
            dns_answer(data) if port == 53 else f"REACHED {socket.inet_ntop(family, packed)} {port}".encode()
        )
        with contextlib.suppress(OSError):
            server.sendmsg([reply], [(level, kind, source)], 0, sender)


def dns_answer(query: bytes) -> bytes:
    """A name server that is not to be trusted: everything is at 6.6.6.6."""
    end = query.index(b"\0", 12) + 5
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((6, 6, 6, 6))
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + record


def sniff(path: str) -> None:
    """Whatever comes by any way, with any protocol."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    while True:
        packet = tap.recv(65536)
        if MARKER in packet:
            with open(path, "ab") as file:
                file.write(packet.hex().encode() + b"\n")


def main() -> None:
    for port in PORTS:
        threading.Thread(target=serve_tcp, args=(port,), daemon=True).start()
    for port in UDP_PORTS:
        for family in (socket.AF_INET, socket.AF_INET6):
            threading.Thread(target=serve_udp, args=(port, family), daemon=True).start()
    threading.Thread(target=sniff, args=(sys.argv[1],), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
