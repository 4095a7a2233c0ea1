"""Which devices a container may open: Docker's list, as a program of the kernel on the box's cgroup (bpf(2),
BPF_PROG_TYPE_CGROUP_DEVICE). Cgroup v2 has no file for it.

A container may make any device node (CAP_MKNOD is in Docker's default set), but opens only these: not the disks, not the ports
that lead to the host, not the kernel's log.
"""

from __future__ import annotations

import ctypes
import os
import struct

from guest.cgroups import Cgroup

_BPF_NUMBERS = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 5, 8, 9
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ATTRIBUTE_BYTES = 128
_MKNOD_ONLY, _CHARACTER_DEVICE = 1, 2

ALLOWED = (
    (1, 3), (1, 5), (1, 7), (1, 8), (1, 9),  # null, zero, full, random, urandom
    (5, 0), (5, 1), (5, 2), (136, None),  # tty, console, ptmx, terminals
)  # fmt: skip
"""Major and minor numbers of character devices; None: any minor. Moby's oci/defaults.go."""

_libc = ctypes.CDLL(None, use_errno=True)


class DeviceFilter:
    """Attached to a cgroup, and all below it, until `detach`."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._program = _load(build_program())

    def attach(self) -> None:
        self._attachment(_PROG_ATTACH)

    def detach(self) -> None:
        """For a privileged container."""
        self._attachment(_PROG_DETACH)

    def _attachment(self, command: int) -> None:
        group = os.open(self._cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(command, struct.pack("=IIII", group, self._program, _ATTACH_CGROUP_DEVICE, 0))
        finally:
            os.close(group)


def build_program() -> bytes:
    """The program (struct bpf_insn[]): returns 1 where the access is allowed. Its context is struct bpf_cgroup_dev_ctx: access
    and type in one word, major, minor."""
    devices = b""
    for major, minor in ALLOWED:
        rule = _ALLOW
        if minor is not None:
            rule = _unless_equal(5, minor, rule)
        devices += _unless_equal(4, major, rule)
    return b"".join((
        _instruction(0x61, dst=2, src=1),  # r2 = access << 16 | type
        _instruction(0xBF, dst=3, src=2),
        _instruction(0x57, dst=3, immediate=0xFFFF),  # r3 = type
        _instruction(0x77, dst=2, immediate=16),  # r2 = access
        _instruction(0x61, dst=4, src=1, offset=4),  # r4 = major
        _instruction(0x61, dst=5, src=1, offset=8),  # r5 = minor
        _instruction(0x55, dst=2, offset=2, immediate=_MKNOD_ONLY),
        _ALLOW,
        _instruction(0x15, dst=3, offset=2, immediate=_CHARACTER_DEVICE),
        _DENY,
        devices,
        _DENY,
    ))  # fmt: skip


def _unless_equal(register: int, value: int, rule: bytes) -> bytes:
    """The rule, passed by when a register has another value."""
    return _instruction(0x55, dst=register, offset=len(rule) // 8, immediate=value) + rule


def _instruction(code: int, *, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, offset, immediate)


_ALLOW = _instruction(0xB7, immediate=1) + _instruction(0x95)
_DENY = _instruction(0xB7, immediate=0) + _instruction(0x95)


def _load(program: bytes) -> int:
    code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)
    )
    return _bpf(_PROG_LOAD, attributes)


def _bpf(command: int, attributes: bytes) -> int:
    """Raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    result = _libc.syscall(_BPF_NUMBERS[os.uname().machine], command, buffer, _ATTRIBUTE_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "bpf")
    return int(result)
