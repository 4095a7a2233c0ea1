"""What the gate does, in which order: give up the user, the capabilities and the right to gain any; set limits; close
Landlock and seccomp behind it (capabilities(7), user_namespaces(7), seccomp(2)).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engine.jailer.gate import Argument, Bytes, Pointing, Previous, Step
from engine.jailer.grants import Identity, Jail, Limits
from engine.jailer.landlock import RESTRICT_SELF
from engine.jailer.seccomp import INSTRUCTION_BYTES

INSIDE_ID = 0
"""The user and group a jailed process sees itself as. They mean nothing: no capability comes with them, and the kernel
goes by the ones outside. But files of the person who runs the box are then root's in the box, as people expect."""

_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "prctl": 157, "setgroups": 116, "setresgid": 119, "setresuid": 117, "capset": 126, "unshare": 272,
        "prlimit64": 302, "close": 3, "seccomp": 317, "keyctl": 250, "openat": 257, "write": 1, "umask": 95,
    },
    "aarch64": {
        "prctl": 167, "setgroups": 159, "setresgid": 149, "setresuid": 147, "capset": 91, "unshare": 97,
        "prlimit64": 261, "close": 57, "seccomp": 277, "keyctl": 219, "openat": 56, "write": 64, "umask": 166,
    },
}  # fmt: skip
_AT_FDCWD = -100
_O_WRONLY_CLOEXEC = 0o1 | 0o2000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SIGKILL = 9
_CLONE_NEWUSER = 0x10000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_SETPCAP, _CAP_SYS_ADMIN = 8, 21
_LAST_CAPABILITY = 63
"""No kernel has more; the drop of one it does not know is refused and no matter."""
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SECCOMP_SET_MODE_FILTER = 1
_RLIMITS = {"cpu": 0, "fsize": 1, "core": 4, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9, "msgqueue": 12}
_MEMLOCK_BYTES = 8 << 20


def closing_steps(jail: Jail, *, arch: str, ruleset: int | None, program: bytes | None) -> tuple[Step, ...]:
    """The system calls that close a jail, on a processor. `ruleset` is Landlock's inherited descriptor, `program` the
    seccomp filter. Pure. Raises KeyError for an unknown processor."""
    return tuple(_Steps(arch).all(jail, ruleset, program))


class _Steps:
    def __init__(self, arch: str) -> None:
        self._numbers = _NUMBERS[arch]

    def _step(self, call: str, *arguments: Argument, required: bool = True, name: str | None = None) -> Step:
        return Step(name=name or call, number=self._numbers[call], arguments=arguments, required=required)

    def _prctl(self, option: int, value: int, *, required: bool = True) -> Step:
        return self._step("prctl", option, value, 0, 0, 0, required=required)

    def all(self, jail: Jail, ruleset: int | None, program: bytes | None) -> Iterator[Step]:
        serves = any(grant.foreign for grant in jail.grants)
        yield self._step("umask", 0 if serves else 0o077)  # who has a volume in a box decides on modes there
        yield self._step("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0, required=False)
        if jail.identity is not None:
            yield from self._become(jail.identity)
        yield self._prctl(_PR_SET_NO_NEW_PRIVS, 1)
        yield from self._limits(jail.limits)
        if ruleset is not None:
            yield self._step_of("landlock_restrict_self", RESTRICT_SELF, ruleset, 0)
            yield self._step("close", ruleset)
        if program is not None:
            head = struct.pack("<H6x", len(program) // INSTRUCTION_BYTES)
            yield self._step("seccomp", _SECCOMP_SET_MODE_FILTER, 0, Pointing(head, program))

    def _step_of(self, name: str, number: int, *arguments: Argument) -> Step:
        return Step(name=name, number=number, arguments=arguments)

    def _become(self, identity: Identity) -> Iterator[Step]:
        """Become the box's own user, then enter a user namespace that knows no other. Two capabilities are kept on the
        way: to make the namespace where the system keeps ordinary users from it, and to drop all others for good. In
        the new namespace they are worth nothing outside."""
        yield self._step("setgroups", 1, Bytes(struct.pack("<I", identity.shared_gid)))
        yield self._step("setresgid", identity.gid, identity.gid, identity.gid)
        yield self._prctl(_PR_SET_KEEPCAPS, 1)
        yield self._step("setresuid", identity.uid, identity.uid, identity.uid)
        yield self._capset(1 << _CAP_SETPCAP | 1 << _CAP_SYS_ADMIN)
        yield self._prctl(_PR_SET_DUMPABLE, 1)  # else its own /proc/self belongs to root
        yield self._step("unshare", _CLONE_NEWUSER, required=False)
        for file, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{INSIDE_ID} {identity.uid} 1"),
            ("gid_map", f"{INSIDE_ID} {identity.gid} 1"),
        ):
            path = Bytes(f"/proc/self/{file}".encode() + b"\0")
            yield self._step("openat", _AT_FDCWD, path, _O_WRONLY_CLOEXEC, 0, required=False)
            yield self._step("write", Previous(), Bytes(line.encode()), len(line), required=False)
        for capability in range(_LAST_CAPABILITY + 1):
            yield self._prctl(_PR_CAPBSET_DROP, capability, required=False)
        yield self._prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        yield self._capset(0)
        yield self._prctl(_PR_SET_PDEATHSIG, _SIGKILL)  # forgotten by the kernel when the user changes

    def _capset(self, capabilities: int) -> Step:
        low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
        return self._step(
            "capset",
            Bytes(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)),
            Bytes(struct.pack("<6I", low, low, 0, high, high, 0)),
        )

    def _limits(self, limits: Limits) -> Iterator[Step]:
        wanted = {
            "core": 0, "msgqueue": 0, "memlock": _MEMLOCK_BYTES,
            "nofile": limits.open_files, "fsize": limits.file_size_bytes, "nproc": limits.processes,
            "as": limits.memory_bytes, "cpu": limits.cpu_time_s,
        }  # fmt: skip
        for name, value in wanted.items():
            if value is not None:
                pair = Bytes(struct.pack("<QQ", value, value))
                yield self._step("prlimit64", 0, _RLIMITS[name], pair, 0, name=f"the limit {name}")
