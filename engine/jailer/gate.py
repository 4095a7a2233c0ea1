"""The gate: a program of a few hundred bytes, made for one launch, that is the last to run before the jailed one.

What a process can only do to itself (give up its user id, restrict itself with Landlock, load a seccomp filter) has to
happen after bubblewrap has built the room, and before the stranger moves in. A program in between would need its own
libraries in the room and take milliseconds to load; this one is a static executable that consists of the very system
calls, with their arguments as constants, and of the call that replaces it by the jailed program. It takes no input.

Sources: elf(5); the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h; Intel SDM
volume 2 (MOV, SYSCALL), Arm ARM C6.2 (MOVZ, MOVK, SVC, TBZ).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.jailer.identity import SLOT_BYTES, SLOT_OFFSET, pack_slot

LOAD_ADDRESS = 0x400000
"""Where the program lies. Nothing can be mapped below LOWEST_MAPPING once the filter is in force, so that the one
address from which execve(2) is let through (PATH_ADDRESS) is gone for good with the gate itself."""
LOWEST_MAPPING = 1 << 32
FAILED_STATUS = 125
_WORD = 0xFFFF_FFFF_FFFF_FFFF

_ELF_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_HEADERS_BYTES = _ELF_HEADER.size + _PROGRAM_HEADER.size
IDENTITY_ADDRESS = LOAD_ADDRESS + SLOT_OFFSET
PATH_ADDRESS = IDENTITY_ADDRESS + SLOT_BYTES
"""The identity, then the path of the jailed program: the first things after the headers, whatever follows."""

_ET_EXEC, _PT_LOAD, _R_AND_X = 2, 1, 5
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


@dataclass(frozen=True, slots=True)
class Bytes:
    """An argument that is the address of these bytes."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Pointing:
    """An argument that is the address of `head` followed by the address of `content` (a `struct sock_fprog`)."""

    head: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """An argument that is read from this address when the step's turn comes."""

    address: int


class Previous:
    """What the call before gave, a descriptor; may only be the first argument."""


Argument = int | Bytes | Pointing | Loaded | Previous


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One system call by its number. `required` False: the gate goes on when the kernel refuses it."""

    name: str
    number: int
    arguments: tuple[Argument, ...] = ()
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Processor:
    """How code is written for one: load constants into argument registers (None: what the call before gave) and call,
    skip if it went well, become another program."""

    call: Callable[[int, Sequence[int | Loaded | None]], bytes]
    skip_on_success: Callable[[int], bytes]
    become: Callable[[int], bytes]
    write: int
    exit: int


def build_gate(path: str, steps: Sequence[Step], *, arch: str, identity: tuple[int, int] = (0, 0)) -> bytes:
    """An executable that carries out `steps`, then becomes `path` with its own arguments but the first.

    A required step that fails is named on stderr, and the status is FAILED_STATUS. Pure. Raises KeyError for a
    processor it is not written for.
    """
    processor = _PROCESSORS[arch]
    pool = _Pool(LOAD_ADDRESS + _HEADERS_BYTES)
    pool.address(Bytes(pack_slot(*identity)))
    assert pool.address(Bytes(path.encode() + b"\0")) == PATH_ADDRESS
    calls = [
        (step, processor.call(step.number, [pool.place(argument) for argument in step.arguments]))
        for step in steps
    ]
    failures = {step.name: _failure(processor, pool, step.name) for step in steps if step.required}
    last = _failure(processor, pool, "execve")
    code = b"".join(
        call
        + (
            processor.skip_on_success(len(failures[step.name])) + failures[step.name]
            if step.required
            else b""
        )
        for step, call in calls
    )
    entry = LOAD_ADDRESS + _HEADERS_BYTES + len(pool.content)
    return _executable(pool.content + code + processor.become(PATH_ADDRESS) + last, entry, arch)


class _Pool:
    """The constants: bytes at known addresses, each aligned to 16 bytes."""

    def __init__(self, start: int) -> None:
        self._start = start
        self.content = b""

    def place(self, argument: Argument) -> int | Loaded | None:
        """The number to load, or where from; None for what the call before gave."""
        if isinstance(argument, Previous):
            return None
        return argument if isinstance(argument, Loaded) else self.address(argument)

    def address(self, argument: int | Bytes | Pointing) -> int:
        if isinstance(argument, int):
            return argument
        if isinstance(argument, Pointing):
            return self._add(argument.head + struct.pack("<Q", self._add(argument.content)))
        return self._add(argument.content)

    def _add(self, content: bytes) -> int:
        address = self._start + len(self.content)
        self.content += content + bytes(-len(content) % 16)
        return address


def _failure(processor: _Processor, pool: _Pool, name: str) -> bytes:
    message = f"the jail could not be closed: {name} was refused\n".encode()
    said = processor.call(processor.write, (2, pool.address(Bytes(message)), len(message)))
    return said + processor.call(processor.exit, (FAILED_STATUS,))


def _executable(content: bytes, entry: int, arch: str) -> bytes:
    size = _HEADERS_BYTES + len(content)
    header = _ELF_HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, _ET_EXEC, _ELF_MACHINES[arch], 1, entry, _ELF_HEADER.size, 0, 0,
        _ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0,
    )  # fmt: skip
    segment = _PROGRAM_HEADER.pack(_PT_LOAD, _R_AND_X, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1000)
    return header + segment + content


# ------------------------------------------------------------ x86-64: rdi rsi rdx r10 r8, number in eax

_X86_LOADS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8")
_X86_READS = (
    b"\x48\x8b\x3c\x25",
    b"\x48\x8b\x34\x25",
    b"\x48\x8b\x14\x25",
    b"\x4c\x8b\x14\x25",
    b"\x4c\x8b\x04\x25",
)


def _x86_call(number: int, arguments: Sequence[int | Loaded | None]) -> bytes:
    loads = b"".join(_x86_load(register, value) for register, value in enumerate(arguments))
    return loads + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"  # mov eax, number; syscall


def _x86_load(register: int, value: int | Loaded | None) -> bytes:
    if value is None:
        return b"\x48\x89\xc7"  # mov rdi, rax
    if isinstance(value, Loaded):
        return _X86_READS[register] + struct.pack("<i", value.address)  # mov register, [address]
    return _X86_LOADS[register] + struct.pack("<Q", value & _WORD)


def _x86_skip(length: int) -> bytes:
    return b"\x48\x85\xc0\x0f\x89" + struct.pack("<i", length)  # test rax, rax; jns over the failure


def _x86_become(path: int) -> bytes:
    """At the start of a process the stack holds argc, argv, 0, envp (System V ABI, AMD64, 3.4.1)."""
    return (
        b"\x48\x8b\x04\x24"  # mov rax, [rsp]
        b"\x48\x8d\x74\x24\x10"  # lea rsi, [rsp+16]: argv without its first
        b"\x48\x8d\x54\xc4\x10"  # lea rdx, [rsp+rax*8+16]: envp
        b"\x48\xbf" + struct.pack("<Q", path) + b"\xb8" + struct.pack("<I", 59) + b"\x0f\x05"
    )


# ------------------------------------------------------------ AArch64: x0 to x4, number in x8


def _arm_load(register: int, value: int) -> bytes:
    words = [0xD2800000 | (value & 0xFFFF) << 5 | register]
    words += [
        0xF2800000 | half << 21 | (value >> 16 * half & 0xFFFF) << 5 | register
        for half in (1, 2, 3)
        if value >> 16 * half & 0xFFFF
    ]
    return struct.pack(f"<{len(words)}I", *words)


def _arm_call(number: int, arguments: Sequence[int | Loaded | None]) -> bytes:
    """A result is where the first argument goes, in x0."""
    loads = b"".join(
        _arm_read(register, value.address)
        if isinstance(value, Loaded)
        else _arm_load(register, value & _WORD)
        for register, value in enumerate(arguments)
        if value is not None
    )
    return loads + _arm_load(8, number) + struct.pack("<I", 0xD4000001)  # svc #0


def _arm_read(register: int, address: int) -> bytes:
    return _arm_load(9, address) + struct.pack("<I", 0xF9400000 | 9 << 5 | register)  # ldr register, [x9]


def _arm_skip(length: int) -> bytes:
    return struct.pack("<I", 0xB6F80000 | (length // 4 + 1) << 5)  # tbz x0, #63, over the failure


def _arm_become(path: int) -> bytes:
    words = (0xF94003E9, 0x910043E1, 0x8B090C22)  # ldr x9, [sp]; add x1, sp, #16; add x2, x1, x9, lsl #3
    return struct.pack("<3I", *words) + _arm_load(0, path) + _arm_load(8, 221) + struct.pack("<I", 0xD4000001)


_PROCESSORS = {
    "x86_64": _Processor(call=_x86_call, skip_on_success=_x86_skip, become=_x86_become, write=1, exit=60),
    "aarch64": _Processor(call=_arm_call, skip_on_success=_arm_skip, become=_arm_become, write=64, exit=93),
}
