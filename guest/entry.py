"""Entering the container with as little as possible: the light way to run a further command.

crun is the measure: whoever enters here has the namespaces, control group, user, groups, capabilities, limits, umask and
filter of system calls that crun would have given it (a test compares). What cannot be done this way, or goes wrong on it, is
left to crun, which then says why.

The order leaves nothing to see or to seize: all of the process that needs privileges happens outside of the container's
process namespace; the child born into it has its final user and bounding set, and of other privileges only the one for
loading its filter, up to the call before the command.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from guest.cgroups import Cgroup
from guest.entry_program import REPORT, Call, Pointer, build_entry_program
from guest.oci import DEFAULT_PATH, ProcessSpec
from guest.pipes import Pipes
from guest.reaper import Reaper
from guest.rootfs import find_executable_in_root

MACHINES = ("x86_64",)
ITSELF = "/proc/self/exe"
"""A command's path by which the program becomes itself again (proc(5)). It then lacks the descriptor of the container, and
fails at the call that enters it."""
_PROGRAMS_KEPT = 8
_REPORTS_BYTES = 4096

_NAMESPACES = 0x20000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000
"""CLONE_NEWNS, NEWPID, NEWIPC, NEWUTS, NEWCGROUP: those the container has of its own (guest.oci)."""
_CLOSE_RANGE_CLOEXEC = 4
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER = 1
_INSTRUCTION_BYTES = 8
_UMASK = 0o022
_SYS_ADMIN = 21
_INFINITY = 2**64 - 1

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers (include/uapi/linux/capability.h)."""
_RLIMITS = (
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending",
    "msgqueue", "nice", "rtprio", "rttime",
)  # fmt: skip
"""In the order of their numbers (include/uapi/asm-generic/resource.h)."""


class Entry:
    """The way into one container, whose first process is `init_pid`. `seccomp_filter` is its struct sock_filter[]."""

    def __init__(self, reaper: Reaper, init_pid: int, *, seccomp_filter: bytes) -> None:
        self._reaper = reaper
        self._filter = seccomp_filter
        self._init_fd = os.pidfd_open(init_pid)
        self._root_fd = os.open(f"/proc/{init_pid}/root", os.O_PATH | os.O_DIRECTORY)
        self._reports_fd, self._report_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._reports: dict[int, tuple[int, bool]] = {}
        self._programs: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())

    async def run(self, spec: ProcessSpec, cgroup: Cgroup, pipes: Pipes) -> int | None:
        """Run a command without a terminal; its process id, or None when it has to be tried another way. The container's
        ends of `pipes` stay open."""
        program, path = self._program(spec), self._find(spec)
        if program is None or path is None:
            return None
        pipes.give_to(spec.user.uid, spec.user.gid)
        pid, status = self._reaper.spawn(
            (f"/proc/self/fd/{program}", path, *spec.argv), env=spec.env, cgroup=cgroup,
            stdin=pipes.stdin, stdout=pipes.stdout, stderr=pipes.stderr, keep=(self._init_fd, self._report_fd),
            ends_soon=True,
        )  # fmt: skip
        if await status != 0:
            return None
        return self._reported(pid)

    def _find(self, spec: ProcessSpec) -> str | None:
        """The file that the first word means: the first one along PATH that could be executed at all. Whether this user may
        execute it is found out by doing it."""
        name = spec.argv[0]
        if "/" in name:
            return name
        value = next((entry[5:] for entry in spec.env if entry.startswith("PATH=")), DEFAULT_PATH)
        folders = [folder for folder in value.split(":") if folder.startswith("/")]
        return find_executable_in_root(self._root_fd, [f"{folder}/{name}" for folder in folders])

    def _reported(self, pid: int) -> int | None:
        """What the program with this id, which has ended well, wrote: perhaps read with another's already."""
        if pid not in self._reports:
            for launcher, child, gave_up in REPORT.iter_unpack(os.read(self._reports_fd, _REPORTS_BYTES)):
                self._reports[launcher] = (child, bool(gave_up))
        child, gave_up = self._reports.pop(pid)
        return None if gave_up else child

    # ------------------------------------------------------------ the program

    def _program(self, spec: ProcessSpec) -> int | None:
        """A descriptor of the executable for such a process; None when none can be made."""
        key = (spec.working_dir, spec.user, spec.capabilities, spec.rlimits, spec.no_new_privileges)
        found = self._programs.get(key)
        if found is not None:
            self._programs.move_to_end(key)
            return found
        if os.uname().machine not in MACHINES or not set(spec.capabilities) <= set(CAPABILITIES):
            return None
        if any(name not in _RLIMITS for name, _, _ in spec.rlimits):
            return None
        content = build_entry_program(
            tuple(self._outside(spec)), tuple(self._inside(spec)), report_fd=self._report_fd
        )
        self._programs[key] = _sealed_file(content)
        if len(self._programs) > _PROGRAMS_KEPT:
            os.close(self._programs.popitem(last=False)[1])
        return self._programs[key]

    def _outside(self, spec: ProcessSpec) -> Iterator[Call]:
        """What happens before the container could see anything of it."""
        user = spec.user
        yield Call("close_range", (3, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC))
        yield Call("setns", (self._init_fd, _NAMESPACES))
        yield Call("chdir", (Pointer(os.fsencode(spec.working_dir or "/") + b"\0"),))
        yield Call("umask", (_UMASK,))
        for name, soft, hard in spec.rlimits:
            pair = struct.pack("<QQ", *(min(value, _INFINITY) for value in (soft, hard)))
            yield Call("prlimit64", (0, _RLIMITS.index(name), Pointer(pair), 0))
        yield Call(
            "setgroups", (len(user.groups), Pointer(struct.pack(f"<{len(user.groups)}I", *user.groups)))
        )
        yield Call("setresgid", (user.gid, user.gid, user.gid))
        wanted = _mask(spec.capabilities)
        for number in range(self._last_capability + 1):
            if not wanted >> number & 1:
                yield Call("prctl", (_PR_CAPBSET_DROP, number, 0, 0, 0))
        yield Call("prctl", (_PR_SET_KEEPCAPS, 1, 0, 0, 0))
        yield Call("setresuid", (user.uid, user.uid, user.uid))
        yield _capset(wanted | (1 << _SYS_ADMIN if self._needs_privilege(spec) else 0))
        if spec.no_new_privileges:
            yield Call("prctl", (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))

    def _inside(self, spec: ProcessSpec) -> Iterator[Call]:
        yield Call("setsid")
        if self._filter:
            head = struct.pack("<H6x", len(self._filter) // _INSTRUCTION_BYTES)
            yield Call("seccomp", (_SECCOMP_SET_MODE_FILTER, 0, Pointer(self._filter, head)))
        if self._needs_privilege(spec):
            yield _capset(_mask(spec.capabilities))

    def _needs_privilege(self, spec: ProcessSpec) -> bool:
        """Only who may administer the system, or never gains privileges, may load a filter (seccomp(2))."""
        return bool(self._filter) and not spec.no_new_privileges and "SYS_ADMIN" not in spec.capabilities


def _mask(names: tuple[str, ...]) -> int:
    return sum(1 << CAPABILITIES.index(name) for name in names)


def _capset(capabilities: int) -> Call:
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    return Call("capset", (
        Pointer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)),
        Pointer(struct.pack("<6I", low, low, 0, high, high, 0)),
    ))  # fmt: skip


def _sealed_file(content: bytes) -> int:
    """An executable that nobody can change, whoever gets hold of it."""
    import fcntl

    fd = os.memfd_create("boxlite-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
