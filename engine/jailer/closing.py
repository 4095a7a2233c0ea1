"""What the gate does, in which order: give up the user, the capabilities and the right to gain any; set limits; close
Landlock and seccomp behind it (capabilities(7), user_namespaces(7), seccomp(2)).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import PurePosixPath

from engine.jailer.gate import IDENTITY_ADDRESS, Argument, Bytes, Loaded, Pointing, Previous, Step
from engine.jailer.grants import Identity, Jail, Limits
from engine.jailer.identity import GID_AT, GID_MAP_AT, MAP_BYTES, UID_AT, UID_MAP_AT
from engine.jailer.landlock import (
    ADD_RULE,
    CREATE_RULESET,
    NETWORK_ABI,
    RESTRICT_SELF,
    RULE_NET_PORT,
    RULE_PATH_BENEATH,
    bind_attributes,
    path_attributes,
    path_rules,
    ruleset_attributes,
)
from engine.seccomp.program import INSTRUCTION_BYTES

_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "prctl": 157, "setgroups": 116, "setresgid": 119, "setresuid": 117, "capset": 126, "unshare": 272,
        "prlimit64": 302, "close": 3, "seccomp": 317, "keyctl": 250, "openat": 257, "write": 1, "umask": 95, "dup3": 292,
    },
    "aarch64": {
        "prctl": 167, "setgroups": 159, "setresgid": 149, "setresuid": 147, "capset": 91, "unshare": 97,
        "prlimit64": 261, "close": 57, "seccomp": 277, "keyctl": 219, "openat": 56, "write": 64, "umask": 166, "dup3": 24,
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
_RULESET_FD, _PATH_FD = 198, 199
"""Numbers for descriptors of the gate's own, above any that is handed over."""
_O_PATH_CLOEXEC = 0o10000000 | 0o2000000


def closing_steps(jail: Jail, *, arch: str, landlock: int, program: bytes | None) -> tuple[Step, ...]:
    """The system calls that close a jail, on a processor. `landlock` is the version the kernel speaks, `program` the
    seccomp filter. Raises KeyError for an unknown processor, OSError for a granted path that cannot be looked at."""
    return tuple(_Steps(arch).all(jail, landlock, program))


class _Steps:
    def __init__(self, arch: str) -> None:
        self._numbers = _NUMBERS[arch]

    def _step(self, call: str, *arguments: Argument, required: bool = True, name: str | None = None) -> Step:
        return Step(name=name or call, number=self._numbers[call], arguments=arguments, required=required)

    def _prctl(self, option: int, value: int, *, required: bool = True) -> Step:
        return self._step("prctl", option, value, 0, 0, 0, required=required)

    def all(self, jail: Jail, landlock: int, program: bytes | None) -> Iterator[Step]:
        serves = any(grant.foreign for grant in jail.grants)
        yield self._step("umask", 0 if serves else 0o077)  # who has a volume in a box decides on modes there
        yield self._step("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0, required=False)
        if jail.identity is not None:
            yield from self._become(jail.identity)
        yield self._prctl(_PR_SET_NO_NEW_PRIVS, 1)
        yield from self._limits(jail.limits)
        if jail.landlock and landlock:
            yield from self._landlock(jail, landlock)
        if program is not None:
            head = struct.pack("<H6x", len(program) // INSTRUCTION_BYTES)
            yield self._step("seccomp", _SECCOMP_SET_MODE_FILTER, 0, Pointing(head, program))

    def _landlock(self, jail: Jail, abi: int) -> Iterator[Step]:
        attributes = ruleset_attributes(
            abi, network=jail.network, files=not jail.mounts, binds_any=jail.listens is None
        )
        if not attributes:
            return
        yield Step(
            name="landlock_create_ruleset",
            number=CREATE_RULESET,
            arguments=(Bytes(attributes), len(attributes), 0),
        )
        yield self._step("dup3", Previous(), _RULESET_FD, 0)
        for port in jail.listens or () if abi >= NETWORK_ABI else ():
            port_rule = (_RULESET_FD, RULE_NET_PORT, Bytes(bind_attributes(port)), 0)
            yield Step(name=f"landlock_add_rule for port {port}", number=ADD_RULE, arguments=port_rule)
        for path, rights in path_rules(() if jail.mounts else (*jail.grants, *jail.devices), abi):
            name = Bytes(os.fsencode(path) + b"\0")
            yield self._step(
                "openat", _AT_FDCWD, name, _O_PATH_CLOEXEC, 0, name=f"open {PurePosixPath(path).name}"
            )
            yield self._step("dup3", Previous(), _PATH_FD, 0)
            rule = (_RULESET_FD, RULE_PATH_BENEATH, Bytes(path_attributes(rights, _PATH_FD)), 0)
            yield Step(name=f"landlock_add_rule {PurePosixPath(path).name}", number=ADD_RULE, arguments=rule)
        yield Step(name="landlock_restrict_self", number=RESTRICT_SELF, arguments=(_RULESET_FD, 0))
        yield self._step("close", _RULESET_FD)
        if not jail.mounts:
            yield self._step("close", _PATH_FD)

    def _become(self, identity: Identity) -> Iterator[Step]:
        """Become the box's own user, then enter a user namespace that knows no other. Two capabilities are kept on the
        way: to make the namespace where the system keeps ordinary users from it, and to drop all others for good. In
        the new namespace they are worth nothing outside."""
        yield self._step("setgroups", 1, Bytes(struct.pack("<I", identity.shared_gid)))
        gid, uid = Loaded(IDENTITY_ADDRESS + GID_AT), Loaded(IDENTITY_ADDRESS + UID_AT)
        yield self._step("setresgid", gid, gid, gid)
        yield self._prctl(_PR_SET_KEEPCAPS, 1)
        yield self._step("setresuid", uid, uid, uid)
        yield self._capset(1 << _CAP_SETPCAP | 1 << _CAP_SYS_ADMIN)
        yield self._prctl(_PR_SET_DUMPABLE, 1)  # else its own /proc/self belongs to root
        yield self._step("unshare", _CLONE_NEWUSER, required=False)
        yield self._step(
            "openat", _AT_FDCWD, Bytes(b"/proc/self/setgroups\0"), _O_WRONLY_CLOEXEC, 0, required=False
        )
        yield self._step("write", Previous(), Bytes(b"deny"), 4, required=False)
        for file, address in (("uid_map", UID_MAP_AT), ("gid_map", GID_MAP_AT)):
            path = Bytes(f"/proc/self/{file}".encode() + b"\0")
            yield self._step("openat", _AT_FDCWD, path, _O_WRONLY_CLOEXEC, 0, required=False)
            yield self._step("write", Previous(), IDENTITY_ADDRESS + address, MAP_BYTES, required=False)
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
