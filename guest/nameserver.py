"""Questions over TCP to the box's name server, led to the host's own.

The network process answers in the place of a name server over UDP alone. Two BPF programs (type cgroup_sock_addr) change where
a connection to it goes, as it is made: a program of the box sees a connection to the server it asked. They are in force for all that
runs in the machine, and do nothing before they are told of a server. Documentation: bpf(2), bpf-helpers(7).
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path

from guest.bpf import (
    ADD,
    CALL,
    EXIT,
    JUMP_EQUAL,
    JUMP_EQUAL_32,
    JUMP_NOT_EQUAL_32,
    LOAD_64,
    LOAD_WORD,
    MOVE,
    MOVE_REGISTER,
    PSEUDO_MAP_FD,
    STORE_IMMEDIATE_WORD,
    STORE_WORD,
    Code,
    attach_to_cgroup,
    load,
    make_array,
)
from guest.wire.constants import DNS_ADDRESS, DNS_ADDRESS6

_TYPE, _CONNECT4, _CONNECT6 = 18, 10, 11
"""BPF_PROG_TYPE_CGROUP_SOCK_ADDR; BPF_CGROUP_INET4_CONNECT and its like for IPv6."""
_LOOKUP_ELEMENT = 1
_ADDRESS4_AT, _ADDRESS6_AT, _PORT_AT, _PROTOCOL_AT = 4, 8, 24, 36
"""In struct bpf_sock_addr."""
_PLACE4, _PLACE6, _PLACE_BYTES = 0, 16, 32
"""Of the servers, in the map's one slot; zeros: none."""
_PORT = 53


class NameServer:
    """In force for as long as this lives. Raises OSError where the kernel cannot do it."""

    def __init__(self, cgroup_root: Path) -> None:
        servers = make_array(1, _PLACE_BYTES, mapped=True)
        self._servers = mmap.mmap(servers, mmap.PAGESIZE)
        group = os.open(cgroup_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._attached = [
                attach_to_cgroup(
                    load(build_program(servers, own, place, at), _TYPE, attachment), group, attachment
                )
                for own, place, at, attachment in (
                    (socket.inet_aton(DNS_ADDRESS), _PLACE4, _ADDRESS4_AT, _CONNECT4),
                    (socket.inet_pton(socket.AF_INET6, DNS_ADDRESS6), _PLACE6, _ADDRESS6_AT, _CONNECT6),
                )
            ]
        finally:
            os.close(group)

    def lead_to(self, address: str) -> None:
        """From now on questions go to this server of the host's network."""
        family, place = (socket.AF_INET6, _PLACE6) if ":" in address else (socket.AF_INET, _PLACE4)
        packed = socket.inet_pton(family, address)
        self._servers[place : place + len(packed)] = packed


def build_program(servers: int, own: bytes, place: int, address_at: int) -> bytes:
    """Allow every connection; one to port 53 of the address `own` goes to what `place` of the map names, if it names any."""
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    wanted = ((_PROTOCOL_AT, socket.IPPROTO_TCP), (_PORT_AT, socket.htons(_PORT)))
    words = [(address_at + 4 * index, word) for index, (word,) in enumerate(struct.iter_unpack("=I", own))]
    for offset, value in (*wanted, *words):
        code.add(LOAD_WORD, 0, 6, offset)
        code.jump(JUMP_NOT_EQUAL_32, 0, value, "allow")
    code.add(STORE_IMMEDIATE_WORD, 10, 0, -4, immediate=0)
    code.add(LOAD_64, 1, PSEUDO_MAP_FD, immediate=servers)
    code.add(0)
    code.add(MOVE_REGISTER, 2, 10)
    code.add(ADD, 2, immediate=-4)
    code.add(CALL, immediate=_LOOKUP_ELEMENT)
    code.jump(JUMP_EQUAL, 0, 0, "allow")
    code.add(LOAD_WORD, 1, 0, place)
    code.jump(JUMP_EQUAL_32, 1, 0, "allow")
    for index in range(len(words)):
        code.add(LOAD_WORD, 1, 0, place + 4 * index)
        code.add(STORE_WORD, 6, 1, address_at + 4 * index)
    code.label("allow")
    code.add(MOVE, 0, immediate=1)
    code.add(EXIT)
    return code.assemble()
