"""Programs of a hundred bytes that make one system call and exit with its error number: attacks that need neither a library nor a
shell in the image. x86-64 only."""

from __future__ import annotations

import struct

from engine.seccomp.program import syscall_number

BASE = 0x400000
_HEADERS_BYTES = 64 + 56
_REGISTERS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
"""mov imm64 to rdi, rsi, rdx, r10, r8, r9."""
_NEWER = {"open_tree_attr": 467}
"""Calls that the host's libseccomp need not know."""


def build_program(name: str, *arguments: int) -> bytes:
    """An executable (ELF) that calls `name` and exits with its errno, 0 when it succeeds."""
    number = _NEWER.get(name) or syscall_number(name, "x86_64")
    assert number is not None, name
    code = b"".join(
        register + struct.pack("<Q", value % 2**64)
        for register, value in zip(_REGISTERS, arguments, strict=False)
    )
    code += b"\x48\xc7\xc0" + struct.pack("<i", number) + b"\x0f\x05"  # mov rax, number; syscall
    code += b"\x48\x85\xc0\x79\x05\x48\xf7\xd8\xeb\x03\x48\x31\xc0"  # negative: negate it, else zero
    code += b"\x48\x89\xc7\x48\xc7\xc0\x3c\x00\x00\x00\x0f\x05"  # exit with it
    size = _HEADERS_BYTES + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, BASE + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return header + segment + code
