"""Leading every packet that would leave a restricted machine to sockets of the agent.

There is no network device. A default route of the type *local* over the loopback makes the machine deliver to itself
whatever goes to an address that is not its own; a BPF program (type sk_lookup) then chooses the agent's socket, whatever
the port. Nothing is translated: an accepted connection's own address is where it was going. No kernel module is needed.
Documentation: bpf(2), Documentation/bpf/prog_sk_lookup.rst, Documentation/networking/tproxy.rst.

This is a convenience, not the wall: whoever takes it down from inside is cut off, for there is no other way out.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from guest.bpf import (
    ADD,
    AND,
    CALL,
    EXIT,
    JUMP,
    JUMP_EQUAL,
    JUMP_EQUAL_32,
    JUMP_NOT_EQUAL_32,
    LOAD_64,
    LOAD_WORD,
    MOVE,
    MOVE_REGISTER,
    PSEUDO_MAP_FD,
    STORE_WORD,
    Code,
    bpf,
    load,
)
from guest.netlink import Rtnetlink

_MAP_CREATE, _MAP_UPDATE_ELEM, _LINK_CREATE = 0, 2, 28
_MAP_TYPE_SOCKMAP, _PROG_TYPE_SK_LOOKUP, _ATTACH_SK_LOOKUP = 15, 30, 36
_LOOKUP_ELEMENT, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
# Offsets in struct bpf_sk_lookup.
_FAMILY, _PROTOCOL, _LOCAL_IP4, _LOCAL_IP6 = 8, 12, 40, 44


class Redirection:
    """Takes every packet to a foreign address to the sockets given. In force for as long as this lives."""

    def __init__(self, *, address: str, address6: str, sockets: Sequence[socket.socket]) -> None:
        """`sockets` in this order: TCP and UDP over IPv4, TCP and UDP over IPv6. `address6` empty: IPv4 only.
        Raises OSError."""
        with Rtnetlink() as link:
            link.add_address("lo", f"{address}/32")
            link.add_local_default("lo", address)
            if address6:
                link.add_address("lo", f"{address6}/128")
                link.add_local_default("lo", address6)
        self._map = bpf(_MAP_CREATE, struct.pack("=IIII", _MAP_TYPE_SOCKMAP, 4, 8, 4))
        for index, chosen in enumerate(sockets):
            key, value = ctypes.c_uint32(index), ctypes.c_uint64(chosen.fileno())
            bpf(
                _MAP_UPDATE_ELEM,
                struct.pack("=IIQQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value), 0),
            )
        self._program = load(_program(self._map, address, address6), _PROG_TYPE_SK_LOOKUP, _ATTACH_SK_LOOKUP)
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._link = bpf(
                _LINK_CREATE, struct.pack("=IIII", self._program, namespace, _ATTACH_SK_LOOKUP, 0)
            )
        finally:
            os.close(namespace)


def silence_own_echo() -> None:
    """The kernel would answer pings to every address by itself: the agent does that."""
    for knob in ("ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"):
        path = Path("/proc/sys/net") / knob
        if path.exists():
            path.write_text("1")


def _program(map_fd: int, address: str, address6: str) -> bytes:
    """Pass what goes to the machine itself; give everything else to the map's socket for its family and protocol."""
    own = struct.unpack("=I", socket.inet_aton(address))[0]
    loopback_mask = struct.unpack("=I", b"\xff\0\0\0")[0]
    loopback = struct.unpack("=I", b"\x7f\0\0\0")[0]
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    code.add(MOVE, 8, immediate=0)  # index of the socket
    code.add(LOAD_WORD, 2, 6, _FAMILY)
    code.jump(JUMP_EQUAL_32, 2, socket.AF_INET6, "ip6")
    code.add(LOAD_WORD, 2, 6, _LOCAL_IP4)
    code.jump(JUMP_EQUAL_32, 2, own, "pass")
    code.add(AND, 2, immediate=loopback_mask)
    code.jump(JUMP_EQUAL_32, 2, loopback, "pass")
    code.jump(JUMP, 0, 0, "choose")
    code.label("ip6")
    code.add(MOVE, 8, immediate=2)
    for number, candidate in enumerate(word for word in ("::1", address6) if word):
        for index, word in enumerate(struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, candidate))):
            code.add(LOAD_WORD, 2, 6, _LOCAL_IP6 + 4 * index)
            code.jump(JUMP_NOT_EQUAL_32, 2, word, f"other{number}")
        code.jump(JUMP, 0, 0, "pass")
        code.label(f"other{number}")
    code.label("choose")
    code.add(LOAD_WORD, 2, 6, _PROTOCOL)
    code.jump(JUMP_EQUAL_32, 2, socket.IPPROTO_TCP, "look")
    code.add(ADD, 8, immediate=1)
    code.label("look")
    code.add(STORE_WORD, 10, 8, -4)
    code.add(LOAD_64, 1, PSEUDO_MAP_FD, immediate=map_fd)
    code.add(0)
    code.add(MOVE_REGISTER, 2, 10)
    code.add(ADD, 2, immediate=-4)
    code.add(CALL, immediate=_LOOKUP_ELEMENT)
    code.jump(JUMP_EQUAL, 0, 0, "pass")  # no such socket
    code.add(MOVE_REGISTER, 7, 0)
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE_REGISTER, 2, 7)
    code.add(MOVE, 3, immediate=0)
    code.add(CALL, immediate=_SK_ASSIGN)
    code.add(MOVE_REGISTER, 1, 7)
    code.add(CALL, immediate=_SK_RELEASE)
    code.label("pass")
    code.add(MOVE, 0, immediate=1)
    code.add(EXIT)
    return code.assemble()
