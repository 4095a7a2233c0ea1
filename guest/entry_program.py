"""A program made of system calls, which enters a container and becomes a command there.

A program with libraries costs a machine that is emulated tens of milliseconds to load. This one is a static executable of
a page or two: the very calls, with their arguments as constants, in two parts. What the first part does cannot be seen from
the container; then comes a child, born into the container's process namespace, which does the second part and becomes the
command whose path is the program's second argument, with the arguments after that and the environment.

The first process waits until the child has become the command or given up, and reports: REPORT (its own id, the child's, 0
or 1 for a child that gave up) in one write. It then exits with 0, or with FAILED_STATUS and no report when a call of the
first part was refused.

Sources: elf(5), clone(2), syscall(2); System V ABI, AMD64, 3.4.1 (a process's first stack); Intel SDM volume 2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

FAILED_STATUS = 125
REPORT = struct.Struct("<III4x")

_BASE = 0x400000
_ELF_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_HEADERS_BYTES = _ELF_HEADER.size + _PROGRAM_HEADER.size
_ET_EXEC, _EM_X86_64, _PT_LOAD, _R_AND_X = 2, 62, 1, 5
_WORD = 0xFFFF_FFFF_FFFF_FFFF

_CLONE, _EXECVE, _EXIT, _WRITE, _GETPID = 56, 59, 60, 1, 39
_CLONE_FLAGS = 0x100 | 0x4000 | 0x8000 | 0x100000 | 17
"""VM, VFORK (the child runs in this memory, and this process not meanwhile), PARENT (the child's parent is ours),
PARENT_SETTID (its id is written down), SIGCHLD."""

NUMBERS = {
    "capset": 126, "chdir": 80, "close_range": 436, "ioctl": 16, "prctl": 157, "prlimit64": 302, "seccomp": 317,
    "setgroups": 116, "setns": 308, "setresgid": 119, "setresuid": 117, "setsid": 112, "umask": 95,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pointer:
    """An argument that is the address of `content`; where `head` is given, of `head` and that address behind it."""

    content: bytes
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call."""

    name: str
    arguments: tuple[int | Pointer, ...] = ()


def build_entry_program(before: Sequence[Call], after: Sequence[Call], *, report_fd: int) -> bytes:
    """The executable: calls of the process that enters, then those of the child that becomes the command. For x86-64."""
    pool = _Pool(_BASE + _HEADERS_BYTES)
    first, second = [_call(call, pool) for call in before], [_call(call, pool) for call in after]
    code = _assemble(first, second, report_fd)
    entry = _BASE + _HEADERS_BYTES + len(pool.content)
    size = _HEADERS_BYTES + len(pool.content) + len(code)
    header = _ELF_HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, _ET_EXEC, _EM_X86_64, 1, entry, _ELF_HEADER.size, 0, 0,
        _ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0,
    )  # fmt: skip
    segment = _PROGRAM_HEADER.pack(_PT_LOAD, _R_AND_X, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + pool.content + code


class _Pool:
    """The constants: bytes at known addresses, each aligned to 16 bytes."""

    def __init__(self, start: int) -> None:
        self._start = start
        self.content = b""

    def place(self, argument: int | Pointer) -> int:
        if isinstance(argument, int):
            return argument
        address = self._add(argument.content)
        return self._add(argument.head + struct.pack("<Q", address)) if argument.head else address

    def _add(self, content: bytes) -> int:
        address = self._start + len(self.content)
        self.content += content + bytes(-len(content) % 16)
        return address


# ------------------------------------------------------------ x86-64: rdi rsi rdx r10 r8, number in eax, result in rax

_LOADS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8")
_NO_REPORT = b"\x48\xc7\x44\x24\xc0" + bytes(4) + b"\x48\xc7\x44\x24\xc8" + bytes(4)
"""mov qword [rsp-64], 0; mov qword [rsp-56], 0: the report lies below the stack, where nothing else is."""
_REPORT_TO_RSI = b"\x48\x8d\x74\x24\xc0"  # lea rsi, [rsp-64]
_CHILD_ID_TO_RDX = b"\x48\x8d\x54\x24\xc4"  # lea rdx, [rsp-60]
_OWN_ID_TO_REPORT = b"\x89\x44\x24\xc0"  # mov [rsp-64], eax
_GIVE_UP = b"\xc7\x44\x24\xc8\x01\x00\x00\x00"  # mov dword [rsp-56], 1
_BECOME = (
    b"\x48\x8b\x04\x24"  # mov rax, [rsp]: how many arguments there are
    b"\x48\x8b\x7c\x24\x10"  # mov rdi, [rsp+16]: the one after this program's name, the path
    b"\x48\x8d\x74\x24\x18"  # lea rsi, [rsp+24]: those after it
    b"\x48\x8d\x54\xc4\x10"  # lea rdx, [rsp+rax*8+16]: the environment
)
_IF_NEGATIVE, _IF_NOT_ZERO = b"\x0f\x88", b"\x0f\x85"
_TEST = b"\x48\x85\xc0"  # test rax, rax


def _assemble(first: list[bytes], second: list[bytes], report_fd: int) -> bytes:
    report = (
        _syscall(_GETPID)
        + _OWN_ID_TO_REPORT
        + _load(0, report_fd) + _REPORT_TO_RSI + _load(2, REPORT.size) + _syscall(_WRITE)
        + _load(0, 0) + _syscall(_EXIT)
    )  # fmt: skip
    failed = _load(0, FAILED_STATUS) + _syscall(_EXIT)
    child = _with_jumps(second, bytes_after=len(_BECOME) + len(_syscall(_EXECVE)))
    child += _BECOME + _syscall(_EXECVE)
    child += _GIVE_UP + failed
    clone = _NO_REPORT + _load(0, _CLONE_FLAGS) + _load(1, 0) + _CHILD_ID_TO_RDX + _load(3, 0) + _load(4, 0)
    clone += _syscall(_CLONE)
    parent_jump = _TEST + _jump(_IF_NOT_ZERO, len(child))
    steps = _with_jumps([*first, clone], bytes_after=len(parent_jump) + len(child) + len(report))
    return steps + parent_jump + child + report + failed


def _with_jumps(steps: list[bytes], *, bytes_after: int) -> bytes:
    """The steps; from each that fails the code jumps to what comes `bytes_after` behind the last."""
    code = b""
    for step in reversed(steps):
        code = step + _TEST + _jump(_IF_NEGATIVE, len(code) + bytes_after) + code
    return code


def _jump(condition: bytes, distance: int) -> bytes:
    return condition + struct.pack("<i", distance)


def _call(call: Call, pool: _Pool) -> bytes:
    loads = b"".join(_load(place, pool.place(value)) for place, value in enumerate(call.arguments))
    return loads + _syscall(NUMBERS[call.name])


def _load(register: int, value: int) -> bytes:
    return _LOADS[register] + struct.pack("<Q", value & _WORD)


def _syscall(number: int) -> bytes:
    return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"  # mov eax, number; syscall
