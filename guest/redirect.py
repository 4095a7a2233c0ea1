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
import platform
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from guest.netlink import Rtnetlink

_NR_BPF = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_UPDATE_ELEM, _PROG_LOAD, _LINK_CREATE = 0, 2, 5, 28
_MAP_TYPE_SOCKMAP, _PROG_TYPE_SK_LOOKUP, _ATTACH_SK_LOOKUP = 15, 30, 36
_LOG_BYTES = 65536

_INSTRUCTION = struct.Struct("=BBhi")
# Classes, sizes and operations (linux/bpf_common.h, linux/bpf.h).
_LOAD_WORD, _STORE_WORD = 0x61, 0x63
_MOVE, _MOVE_REGISTER, _AND, _ADD, _LOAD_64 = 0xB7, 0xBF, 0x57, 0x07, 0x18
_JUMP, _JUMP_EQUAL_32, _JUMP_NOT_EQUAL_32, _CALL, _EXIT = 0x05, 0x16, 0x56, 0x85, 0x95
_LOOKUP_ELEMENT, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
_PSEUDO_MAP_FD = 1
# Offsets in struct bpf_sk_lookup.
_FAMILY, _PROTOCOL, _LOCAL_IP4, _LOCAL_IP6 = 8, 12, 40, 44

_libc = ctypes.CDLL(None, use_errno=True)


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
        self._map = _bpf(_MAP_CREATE, struct.pack("=IIII", _MAP_TYPE_SOCKMAP, 4, 8, 4))
        for index, chosen in enumerate(sockets):
            key, value = ctypes.c_uint32(index), ctypes.c_uint64(chosen.fileno())
            _bpf(
                _MAP_UPDATE_ELEM,
                struct.pack("=IIQQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value), 0),
            )
        self._program = _load(_program(self._map, address, address6))
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._link = _bpf(
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
    code = _Code()
    code.add(_MOVE_REGISTER, 6, 1)
    code.add(_MOVE, 8, immediate=0)  # index of the socket
    code.add(_LOAD_WORD, 2, 6, _FAMILY)
    code.jump(_JUMP_EQUAL_32, 2, socket.AF_INET6, "ip6")
    code.add(_LOAD_WORD, 2, 6, _LOCAL_IP4)
    code.jump(_JUMP_EQUAL_32, 2, own, "pass")
    code.add(_AND, 2, immediate=loopback_mask)
    code.jump(_JUMP_EQUAL_32, 2, loopback, "pass")
    code.jump(_JUMP, 0, 0, "choose")
    code.label("ip6")
    code.add(_MOVE, 8, immediate=2)
    for number, candidate in enumerate(word for word in ("::1", address6) if word):
        for index, word in enumerate(struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, candidate))):
            code.add(_LOAD_WORD, 2, 6, _LOCAL_IP6 + 4 * index)
            code.jump(_JUMP_NOT_EQUAL_32, 2, word, f"other{number}")
        code.jump(_JUMP, 0, 0, "pass")
        code.label(f"other{number}")
    code.label("choose")
    code.add(_LOAD_WORD, 2, 6, _PROTOCOL)
    code.jump(_JUMP_EQUAL_32, 2, socket.IPPROTO_TCP, "look")
    code.add(_ADD, 8, immediate=1)
    code.label("look")
    code.add(_STORE_WORD, 10, 8, -4)
    code.add(_LOAD_64, 1, _PSEUDO_MAP_FD, immediate=map_fd)
    code.add(0)
    code.add(_MOVE_REGISTER, 2, 10)
    code.add(_ADD, 2, immediate=-4)
    code.add(_CALL, immediate=_LOOKUP_ELEMENT)
    code.jump(0x15, 0, 0, "pass")  # no such socket
    code.add(_MOVE_REGISTER, 7, 0)
    code.add(_MOVE_REGISTER, 1, 6)
    code.add(_MOVE_REGISTER, 2, 7)
    code.add(_MOVE, 3, immediate=0)
    code.add(_CALL, immediate=_SK_ASSIGN)
    code.add(_MOVE_REGISTER, 1, 7)
    code.add(_CALL, immediate=_SK_RELEASE)
    code.label("pass")
    code.add(_MOVE, 0, immediate=1)
    code.add(_EXIT)
    return code.assemble()


class _Code:
    """Instructions with jumps to labels further on."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}

    def add(
        self, operation: int, target: int = 0, source: int = 0, offset: int = 0, *, immediate: int = 0
    ) -> None:
        self._instructions.append((operation, target, source, offset, immediate))

    def jump(self, operation: int, register: int, value: int, label: str) -> None:
        self._instructions.append((operation, register, 0, label, value))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._instructions)

    def assemble(self) -> bytes:
        code = b""
        for index, (operation, target, source, offset, immediate) in enumerate(self._instructions):
            distance = self._labels[offset] - index - 1 if isinstance(offset, str) else offset
            registers = source << 4 | target if sys.byteorder == "little" else target << 4 | source
            signed = immediate - (1 << 32) if immediate >= 1 << 31 else immediate
            code += _INSTRUCTION.pack(operation, registers, distance, signed)
        return code


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    license_name = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(_LOG_BYTES)

    def attributes(level: int) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII",
            _PROG_TYPE_SK_LOOKUP, len(program) // _INSTRUCTION.size,
            ctypes.addressof(code), ctypes.addressof(license_name),
            level, _LOG_BYTES if level else 0, ctypes.addressof(log) if level else 0,
            0, 0, b"boxlite", 0, _ATTACH_SK_LOOKUP,
        )  # fmt: skip

    try:
        return _bpf(_PROG_LOAD, attributes(0))
    except OSError:
        try:
            return _bpf(_PROG_LOAD, attributes(1))
        except OSError as error:
            said = log.value.decode(errors="replace").strip().splitlines()
            raise OSError(error.errno, f"loading the redirection: {said[-1:]}") from error


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = _libc.syscall(_NR_BPF[platform.machine()], command, ctypes.byref(buffer), len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf command {command}: {os.strerror(number)}")
    return int(result)
