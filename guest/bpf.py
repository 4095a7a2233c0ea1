"""BPF programs of the agent: instructions with labels, and the system call that loads them.

Documentation: bpf(2), Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

LOG_BYTES = 65536
_JIT = Path("/proc/sys/net/core/bpf_jit_enable")
_NUMBERS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD, _LINK_CREATE = 0, 5, 28
_MAP_TYPE_ARRAY, _MAPPED = 2, 1 << 10
_PROG_TYPE_SCHED_CLS, _ATTACH_TCX_INGRESS, _ATTACH_TCX_EGRESS = 3, 46, 47
TCX_NEXT = 0xFFFFFFFF
"""What a program at an interface returns for a frame that is to go its way."""
_INSTRUCTION = struct.Struct("=BBhi")

# Classes, sizes and operations (linux/bpf_common.h, linux/bpf.h).
LOAD_WORD, STORE_WORD, STORE_BYTE, STORE_IMMEDIATE_WORD = 0x61, 0x63, 0x73, 0x62
LOAD_PACKET_WORD, LOAD_PACKET_HALF, LOAD_PACKET_BYTE = 0x20, 0x28, 0x30
MOVE, MOVE_REGISTER, AND, OR, ADD, LOAD_64, BIG_ENDIAN = 0xB7, 0xBF, 0x57, 0x47, 0x07, 0x18, 0xDC
JUMP, JUMP_EQUAL, JUMP_EQUAL_32, JUMP_NOT_EQUAL, JUMP_NOT_EQUAL_32 = 0x05, 0x15, 0x16, 0x55, 0x56
JUMP_ABOVE, JUMP_BELOW, CALL, EXIT = 0x25, 0xA5, 0x85, 0x95
PSEUDO_MAP_FD = 1
"""The source register of a LOAD_64 whose value is a descriptor of a map."""

_libc = ctypes.CDLL(None, use_errno=True)


class Code:
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


def load(program: bytes, kind: int, attachment: int) -> int:
    """A descriptor of the program. `kind` is a BPF_PROG_TYPE, `attachment` the BPF attach type it is for. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    license_name = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(LOG_BYTES)

    def attributes(level: int) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII",
            kind, len(program) // _INSTRUCTION.size,
            ctypes.addressof(code), ctypes.addressof(license_name),
            level, LOG_BYTES if level else 0, ctypes.addressof(log) if level else 0,
            0, 0, b"boxlite", 0, attachment,
        )  # fmt: skip

    try:
        with _translated():
            return bpf(_PROG_LOAD, attributes(0))
    except OSError:
        try:
            return bpf(_PROG_LOAD, attributes(1))
        except OSError as error:
            said = log.value.decode(errors="replace").strip().splitlines()
            raise OSError(error.errno, f"loading a program: {said[-1:]}") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Have the kernel make machine code of what is loaded meanwhile, also in a machine where it does not otherwise: programs of
    ours run for each frame, or each connection."""
    try:
        before = _JIT.read_text()
        _JIT.write_text("1")
    except OSError:  # a kernel that always does, or never
        yield
        return
    try:
        yield
    finally:
        _JIT.write_text(before)


def make_array(slots: int, slot_bytes: int, *, mapped: bool = False) -> int:
    """A descriptor of a map with numbered slots, all zeros at first; with `mapped` it can be mapped (mmap(2)). Raises OSError."""
    flags = _MAPPED if mapped else 0
    return bpf(_MAP_CREATE, struct.pack("=IIIII", _MAP_TYPE_ARRAY, 4, slot_bytes, slots, flags))


def attach_to_interface(program: bytes, interface: str, *, incoming: bool) -> tuple[int, int]:
    """Have a program (type sched_cls) look at every frame that comes or goes; the descriptors it lives by. Raises OSError."""
    attachment = _ATTACH_TCX_INGRESS if incoming else _ATTACH_TCX_EGRESS
    loaded = load(program, _PROG_TYPE_SCHED_CLS, attachment)
    index = socket.if_nametoindex(interface)
    return loaded, bpf(_LINK_CREATE, struct.pack("=IIII16x", loaded, index, attachment, 0))


def attach_to_cgroup(loaded: int, group: int, attachment: int) -> tuple[int, int]:
    """Have a program in force in a cgroup and all below it; the descriptors it lives by. Raises OSError."""
    return loaded, bpf(_LINK_CREATE, struct.pack("=IIII", loaded, group, attachment, 0))


def bpf(command: int, attributes: bytes) -> int:
    """The system call. Raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = _libc.syscall(_NUMBERS[platform.machine()], command, ctypes.byref(buffer), len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf command {command}: {os.strerror(number)}")
    return int(result)
