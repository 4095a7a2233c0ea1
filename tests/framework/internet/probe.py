"""Tries to reach things from inside a box, as root: cases as JSON on standard input, their outcomes on standard output.

An outcome is one word: what a server answered ("REACHED ADDRESS PORT"), or "refused", "reset", "unreachable", "prohibited", "eof",
"silent", "http 403", "tls alert", "nxdomain", "answer ADDRESS…".
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_S = 12.0
NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "no route",
    errno.EACCES: "prohibited",
    errno.EPERM: "not permitted",
    errno.EADDRNOTAVAIL: "no address",
}


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def client_hello(name, ech=False, names=None, grease_first=False):
    entries = b"".join(
        b"\0" + struct.pack(">H", len(one)) + one
        for one in (names or [name.encode()] if name or names else [])
    )
    extensions = b""
    if grease_first:
        extensions += struct.pack(">HH", 0x0A0A, 0)
    if entries:
        content = struct.pack(">H", len(entries)) + entries
        extensions += struct.pack(">HH", 0, len(content)) + content
    if ech:
        extensions += struct.pack(">HH", 0xFE0D, 8) + bytes(8)
    extensions += struct.pack(">HHBH", 43, 3, 2, 0x0304)
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\0"
        + b"\0\x02\x13\x01"
        + b"\x01\0"
        + struct.pack(">H", len(extensions))
        + extensions
    )
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def payload_of(case):
    kind = case.get("say", "")
    name = case.get("name", "")
    if kind == "http":
        return f"GET / HTTP/1.1\r\nHost: {name}\r\nUser-Agent: probe\r\n\r\n".encode()
    if kind == "post":
        return f"POST /x HTTP/1.1\r\nContent-Length: 2\r\nHost: {name}\r\n\r\nhi".encode()
    if kind == "two hosts":
        return f"GET / HTTP/1.1\r\nHost: {name}\r\nHost: evil.test\r\n\r\n".encode()
    if kind == "absolute":
        return f"GET http://evil.test/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    if kind == "tls":
        return client_hello(name)
    if kind == "tls grease":
        return client_hello(name, grease_first=True)
    if kind == "ech":
        return client_hello(name, ech=True)
    if kind == "two names":
        return client_hello("", names=[name.encode(), b"evil.test"])
    if kind == "split records":
        whole = client_hello(name)[5:]
        parts = (whole[:20], whole[20:])
        return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in parts)
    if kind == "h2":
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    return case.get("raw", "").encode()


def tcp(case):
    address, port = case["address"], case["port"]
    stream = socket.socket(family_of(address), socket.SOCK_STREAM)
    stream.settimeout(TIMEOUT_S)
    with stream:
        stream.connect((address, port))
        payload = payload_of(case)
        if case.get("slowly"):
            for start in range(0, len(payload), 7):
                stream.sendall(payload[start : start + 7])
                select.select([], [], [], 0.01)
        elif payload:
            stream.sendall(payload)
        received = b""
        while b"REACHED" not in received or len(received) < 20:
            try:
                more = stream.recv(65536)
            except TimeoutError:
                return "silent"
            except OSError as error:
                if received:
                    break
                return NAMES.get(error.errno, str(error))
            if not more:
                break
            received += more
    return meaning(received)


def meaning(received):
    if b"REACHED" in received:
        return "REACHED" + received.split(b"REACHED", 1)[1].decode().split("\n")[0].rstrip()
    if received.startswith(b"HTTP/1.1 403"):
        return (
            "http 403"
            if b"\nboxlite: " in received and b" is denied: " in received
            else "http 403 without reason"
        )
    if received[:1] == b"\x15":
        return "tls alert"
    return "eof" if not received else f"data {received[:60]!r}"


def udp(case):
    address, port = case["address"], case["port"]
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sender:
        sender.settimeout(TIMEOUT_S)
        sender.connect((address, port))
        sender.send(case.get("raw", "hello").encode())
        try:
            return meaning(sender.recv(65536))
        except TimeoutError:
            return "silent"


def question(name, kind):
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return os.urandom(2) + b"\x01\0\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack(">HH", kind, 1)


def dns(case):
    kind = {"A": 1, "AAAA": 28, "TXT": 16, "HTTPS": 65, "MX": 15, "ANY": 255}[case.get("kind", "A")]
    query = question(case["name"], kind)
    address = case.get("address", "192.168.127.1")
    if case.get("over") == "tcp":
        with socket.create_connection((address, 53), timeout=TIMEOUT_S) as stream:
            stream.sendall(struct.pack(">H", len(query)) + query)
            with stream.makefile("rb") as reader:
                size = reader.read(2)
                if len(size) < 2:
                    return "eof"
                reply = reader.read(struct.unpack(">H", size)[0])
    else:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as sender:
            sender.settimeout(TIMEOUT_S)
            sender.connect((address, 53))
            sender.send(query)
            try:
                reply = sender.recv(65536)
            except TimeoutError:
                return "silent"
    if reply[:2] != query[:2]:
        return "another answer"
    code = reply[3] & 15
    if code:
        return {3: "nxdomain", 2: "servfail", 4: "notimp"}.get(code, f"rcode {code}")
    return " ".join(["answer", *sorted(records(reply, len(query)))])


def records(reply, position):
    for _ in range(struct.unpack(">H", reply[6:8])[0]):
        while reply[position]:
            if reply[position] >= 192:
                position += 1
                break
            position += reply[position] + 1
        position += 1
        kind, _, _, length = struct.unpack(">HHIH", reply[position : position + 10])
        content = reply[position + 10 : position + 10 + length]
        position += 10 + length
        if kind == 1:
            yield socket.inet_ntop(socket.AF_INET, content)
        elif kind == 28:
            yield socket.inet_ntop(socket.AF_INET6, content)
        elif kind == 16:
            yield content[1:].decode()
        else:
            yield f"type{kind}"


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(case):
    address = case["address"]
    family = family_of(address)
    mark = os.urandom(2)
    rest = mark + b"\0\1" + b"only a ping"
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(0.5)
        request = struct.pack("!BBH", 8 if family == socket.AF_INET else 128, 0, 0) + rest
        if family == socket.AF_INET:
            request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
        raw.sendto(request, (address, 0))
        for _ in range(int(TIMEOUT_S * 2)):
            try:
                packet, _ = raw.recvfrom(65536)
            except TimeoutError:
                continue
            message = packet[20:] if family == socket.AF_INET else packet
            if mark not in message:
                continue
            if message[0] in (0, 129):
                return "echo"
            if message[0] in (3, 1):
                return f"unreachable {message[1]}"
    return "silent"


def packet(case):
    """A frame or a packet made by hand, on every interface there is."""
    mark = b"ESCAPED-FROM-THE-BOX"
    target = socket.inet_aton(case.get("address", "93.184.216.34"))
    inside = struct.pack("!HHHH", 4000, 5000, 8 + len(mark), 0) + mark
    header = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inside), 1, 0, 64, 17, 0)
        + socket.inet_aton("192.168.127.2")
        + target
    )
    if case["how"] == "packet":
        for name in os.listdir("/sys/class/net"):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as tap:
                tap.bind((name, 0))
                tap.send(bytes(12) + b"\x08\0" + header + inside)
    elif case["how"] == "ip":
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(header + inside, (socket.inet_ntoa(target), 0))
    elif case["how"] == "protocol":
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, case["protocol"]) as raw:
            raw.sendto(mark, (socket.inet_ntoa(target), 0))
    elif case["how"] == "vsock":
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as stream:
            stream.settimeout(2)
            stream.connect((2, 80))
            return "connected"
    return "sent"


def interfaces(case):
    return " ".join(sorted(os.listdir("/sys/class/net")))


def many(case):
    """Many connections at once, all answered."""
    one = {key: value for key, value in case.items() if key not in ("op", "count")}
    with ThreadPoolExecutor(case["count"]) as pool:
        outcomes = list(pool.map(lambda _: guarded(tcp, one), range(case["count"])))
    return " | ".join(sorted(set(outcomes)))


def bulk(case):
    size = case["bytes"]
    with socket.create_connection((case["address"], case["port"]), timeout=60) as stream:
        if case["way"] == "in":
            stream.sendall(b"BULK SEND %d\n" % size)
            total = 0
            while more := stream.recv(1 << 18):
                total += len(more)
            return str(total)
        stream.sendall(b"BULK RECEIVE\n")
        block, left = bytes(1 << 18), size
        while left:
            left -= stream.send(block[: min(left, len(block))])
        stream.shutdown(socket.SHUT_WR)
        return stream.recv(100).decode()


def guarded(function, case):
    try:
        return function(case)
    except OSError as error:
        return NAMES.get(error.errno, f"error {error}")


OPERATIONS = {
    "tcp": tcp, "udp": udp, "dns": dns, "ping": ping, "packet": packet, "interfaces": interfaces, "many": many, "bulk": bulk,
}  # fmt: skip


def main():
    cases = json.load(sys.stdin)
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda case: guarded(OPERATIONS[case["op"]], case), cases))
    json.dump(outcomes, sys.stdout)


main()
