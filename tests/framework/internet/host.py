"""What the host itself has in the small internet: a name server, and services on its loopback.

`python host.py DIRECTORY`, until its standard input ends. Questions that came to the name server go to DIRECTORY/questions.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.framework.internet.namespaces import HOST6, HOST_HOME, ZONE

DATAGRAM_BYTES = 512
"""What an answer may have without extensions (RFC 1035, section 2.3.4)."""


def name_server(directory: Path, address: str) -> None:
    server = socket.socket(family_of(address), socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        data, sender = server.recvfrom(65536)
        with contextlib.suppress(Exception):
            reply = reply_to(data, directory)
            if len(reply.to_wire()) > DATAGRAM_BYTES:
                reply.answer.clear()
                reply.flags |= dns.flags.TC
            server.sendto(reply.to_wire(), sender)


def name_server_over_tcp(directory: Path, address: str) -> None:
    listener = socket.create_server((address, 53), family=family_of(address))
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(Exception), connection, connection.makefile("rb") as reader:
            connection.settimeout(5)
            reply = reply_to(reader.read(int.from_bytes(reader.read(2))), directory).to_wire()
            connection.sendall(len(reply).to_bytes(2) + reply)


def reply_to(data: bytes, directory: Path) -> dns.message.Message:
    query = dns.message.from_wire(data)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    with (directory / "questions").open("a") as log:
        log.write(f"{name} {dns.rdatatype.to_text(question.rdtype)}\n")
    return answer(query, name)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answer(query: dns.message.Message, name: str) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    kind = dns.rdatatype.to_text(question.rdtype)
    if name not in ZONE:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response
    if kind in ("A", "AAAA"):
        found = [address for address in ZONE[name] if (":" in address) == (kind == "AAAA")]
    elif kind == "TXT":
        found = ['"some text"']
    elif kind == "HTTPS":
        found = ["1 . alpn=h2"]
    else:
        found = []
    if found:
        response.answer.append(dns.rrset.from_text(question.name, 30, "IN", kind, *found))
    return response


def loopback_server(address: str, port: int) -> None:
    listener = socket.create_server((address, port), family=family_of(address))
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            data = connection.recv(65536)
            said = f"REACHED loopback {port}".encode()
            if data[:1] == b"G":
                said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
                    len(said),
                    said,
                )
            connection.sendall(said)


def loopback_datagrams(port: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        _, sender = server.recvfrom(65536)
        server.sendto(f"REACHED loopback {port}".encode(), sender)


def main() -> None:
    directory = Path(sys.argv[1])
    for address in ("127.0.0.1", HOST_HOME, HOST6):
        for serve in (name_server, name_server_over_tcp):
            threading.Thread(target=serve, args=(directory, address), daemon=True).start()
    for address, port in (("127.0.0.1", 8000), ("127.0.0.1", 80), ("::1", 8600), ("11.0.0.2", 9100)):
        threading.Thread(target=loopback_server, args=(address, port), daemon=True).start()
    threading.Thread(target=loopback_datagrams, args=(8001,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
