"""A name server of our own, and an address of this host to serve on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping

import dns.message
import dns.rdatatype
import dns.rrset
import pytest


@contextlib.contextmanager
def host_address(address: str) -> Iterator[str]:
    """An address (TEST-NET, RFC 5737) that this host has for a while; skips the test where that needs more rights."""
    words = ("address", "replace", f"{address}/32", "dev", "lo")  # one may be left of a run that was killed
    if subprocess.run(("ip", *words), capture_output=True, check=False).returncode:
        pytest.skip("an address cannot be added to this host")
    try:
        yield address
    finally:
        subprocess.run(("ip", "address", "del", f"{address}/32", "dev", "lo"), check=True)


@contextlib.contextmanager
def name_server(address: str, names: Mapping[str, str]) -> Iterator[None]:
    """Answer questions for A records on UDP port 53 of an address; every other name does not exist."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        server.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    query, asker = server.recvfrom(4096)
                    server.sendto(_reply(query, names), asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _reply(query: bytes, names: Mapping[str, str]) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(query))
    question = reply.question[0]
    address = names.get(question.name.to_text(omit_final_dot=True).lower())
    if address is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif question.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
    return reply.to_wire()
