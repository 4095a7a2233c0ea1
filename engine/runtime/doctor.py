"""Can this host run boxes? Every check looks at the real thing: it starts a guest, makes a namespace, builds a file
system; each that is not ok says what to do."""

from __future__ import annotations

import asyncio
import os
import stat
import tarfile
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path

from engine import host
from engine.errors import BoxliteError, UnsupportedError
from engine.host.facts import system_name
from engine.host.namespaces import security_modules
from engine.host.packages import (
    Program,
    Version,
    find_system,
    guest_build_programs,
    install_hint,
    needed_programs,
)
from engine.layout import Layout
from engine.model import Accel, Check, CheckStatus
from engine.process import Command, find_program, run

LOW_SPACE_BYTES = 2 * 1024**3
NO_SPACE_BYTES = 256 * 1024**2
SOCKET_PATH_BYTES = {"linux": 107, "darwin": 103}
"""sun_path less its final zero (unix(7), unix(4))."""
_INSTEAD = {"passt": "gvproxy"}
_OPTIONAL = {"passt": "boxes can run with --network disabled only"}


async def run_checks(layout: Layout, *, accel: Accel | None = None, guest_digest: str | None) -> list[Check]:
    """Every check, in the order they are shown. `accel` is the one asked for, `guest_digest` the guest image in use.

    Takes about half a second; nothing is changed but the memory of accelerators that do not work.
    """
    programs = needed_programs()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_check_accel(layout, accel)),
            *(group.create_task(_check_program(program)) for program in programs if not program.is_library),
            *(group.create_task(check) for check in _builder_checks(guest_digest)),
            group.create_task(_check_namespaces()),
        ]
    return [
        _check_system(),
        *(task.result() for task in tasks),
        _check_seccomp(programs),
        _check_cgroups(),
        _check_guest(guest_digest),
        check_home(layout),
        check_space(layout, host.free_bytes(layout.home)),
        check_socket_path(layout, host.operating_system()),
    ]


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, status=CheckStatus.OK, detail=detail)


def _warning(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, status=CheckStatus.WARNING, detail=detail, remedy=remedy)


def _failed(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, status=CheckStatus.FAILED, detail=detail, remedy=remedy)


def _check_system() -> Check:
    return _ok(
        "system",
        f"{system_name()}, kernel {host.kernel_release()}, {host.machine_arch()},"
        f" {host.cpu_count()} cpus, {host.memory_mib()} MiB",
    )


async def _check_accel(layout: Layout, asked: Accel | None) -> Check:
    name = "accelerator"
    if host.find_qemu() is None:
        return _failed(name, "cannot be tried without QEMU", "install QEMU first")
    verdicts = host.AccelVerdicts(layout.home)
    problems: list[str] = []
    remedies: list[str] = []
    for candidate in host.examine_accels():
        if asked is not None and candidate.accel is not asked:
            continue
        problem, remedy = candidate.problem, candidate.remedy
        known = verdicts.find(candidate.accel)
        if not problem and known is not None and not known.usable:
            problem = known.reason
            remedy = f"it is tried again after a reboot, or when {layout.accel_path} is removed"
        if not problem:
            verdict = await host.probe_accel(candidate.accel)
            if verdict.usable:
                return _accel_found(name, candidate.accel, problems, remedies)
            problem = verdict.reason
            if candidate.accel is not Accel.TCG:
                verdicts.mark_unusable(candidate.accel, verdict.reason)
        problems.append(f"{candidate.accel}: {problem}")
        remedies += [remedy] if remedy else []
    if not problems:
        problems.append(f"{asked} does not exist on this system")
    return _failed(name, "; ".join(problems), "; ".join(remedies) or "let it be chosen: BOXLITE_ACCEL=auto")


def _accel_found(name: str, accel: Accel, problems: Sequence[str], remedies: Sequence[str]) -> Check:
    if not problems:
        return _ok(name, f"{accel}: a guest ran on it")
    detail = f"{accel} (software emulation, some ten times slower; the jail alone is the wall); {'; '.join(problems)}"
    return _warning(
        name, detail, "; ".join(remedies) or "use a host with hardware virtualization for speed and isolation"
    )


async def _check_program(program: Program) -> Check:
    system = find_system()
    if system is not None and system not in program.packages:
        return _ok(program.name, f"not needed here ({program.purpose})")
    path = find_program(program.name)
    if path is None and (other := find_program(_INSTEAD.get(program.name, ""))) is not None:
        return _ok(program.name, f"not installed; {other} is used instead: IPv4 alone, slower")
    if path is None:
        detail = f"not installed: it {program.purpose}"
        if program.name in _OPTIONAL:
            return _warning(
                program.name, f"{detail}; {_OPTIONAL[program.name]}", install_hint(program, system)
            )
        return _failed(program.name, detail, install_hint(program, system))
    try:
        version = await host.program_version(program.name)
    except BoxliteError as error:
        return _failed(program.name, f"{path} does not run: {error.message}", install_hint(program, system))
    shown = _dotted(version) if version else "of unknown version"
    if version and program.minimum and version < program.minimum:
        return _failed(
            program.name,
            f"{path} {shown} is older than {_dotted(program.minimum)}",
            f"{install_hint(program, system)}; if that has no newer one, a newer release of the system has",
        )
    return _ok(program.name, f"{path} {shown}")


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)


def _builder_checks(guest_digest: str | None) -> list[Coroutine[None, None, Check]]:
    """What only building a guest image needs, where there is none yet."""
    if guest_digest is not None:
        return []
    builders = guest_build_programs(as_root=os.geteuid() == 0)
    versioned = [program for program in builders if program.minimum]
    return [*(_check_program(program) for program in versioned), _check_archive(builders)]


async def _check_archive(programs: Sequence[Program]) -> Check:
    """mke2fs loads libarchive when it is first needed: only making a file system shows that it is there."""
    name = "mke2fs -d"
    library = _library(programs, "libarchive")
    if find_program("mke2fs") is None:
        return _failed(name, "cannot be tried without mke2fs", "install e2fsprogs first")
    with tempfile.TemporaryDirectory(prefix="boxlite-doctor-") as directory:
        archive, image = Path(directory, "files.tar"), Path(directory, "image")
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo("file"))
        completed = await run(
            Command(argv=("mke2fs", "-q", "-t", "ext4", "-d", str(archive), str(image), "1M")),
            timeout_s=30,
            check=False,
        )
    if completed.exit_status == 0:
        return _ok(name, "makes a file system from an archive")
    lines = completed.stderr_tail.splitlines()
    return _failed(
        name,
        f"cannot make a file system from an archive: {lines[-1] if lines else completed.exit_status}",
        install_hint(library, find_system()),
    )


def _library(programs: Sequence[Program], name: str) -> Program:
    return next(program for program in programs if program.is_library and program.name.startswith(name))


def _check_seccomp(programs: Sequence[Program]) -> Check:
    from engine.seccomp.program import known_syscalls

    name = "seccomp"
    if host.operating_system() == "darwin":
        return _ok(name, "not needed here")
    try:
        count = len(known_syscalls(host.machine_arch()))
    except UnsupportedError as error:
        return _failed(name, error.message, install_hint(_library(programs, "libseccomp"), find_system()))
    return _ok(name, f"libseccomp makes filters; it knows {count} system calls")


async def _check_namespaces() -> Check:
    name = "namespaces"
    if host.operating_system() == "darwin":
        return _ok(name, "not needed here")
    support = await host.probe_namespaces()
    modules = ", ".join(security_modules())
    suffix = f" (security modules: {modules})" if modules else ""
    if support.usable:
        return _ok(name, f"bubblewrap made a jail{suffix}")
    return _failed(name, support.reason + suffix, support.remedy or "install bubblewrap first")


def _check_cgroups() -> Check:
    name = "cgroups"
    if host.operating_system() == "darwin":
        return _ok(name, "not needed here")
    found = host.find_cgroups()
    if found.delegated:
        return _ok(name, f"{found.mode}, delegated: {' '.join(found.controllers) or 'no controllers'}")
    return _warning(
        name,
        f"{found.mode}, not delegated: machines are limited by resource limits only",
        "run boxlite in a delegated group: systemd-run --user --scope -p Delegate=yes boxlite …"
        if found.mode is host.CgroupMode.UNIFIED
        else "mount cgroups as version 2 alone (kernel argument systemd.unified_cgroup_hierarchy=1)",
    )


def _check_guest(digest: str | None) -> Check:
    name = "guest image"
    if digest is not None:
        return _ok(name, digest[:12])
    builders = guest_build_programs(as_root=os.geteuid() == 0)
    missing = [one for one in builders if not one.is_library and find_program(one.name) is None]
    remedy = "boxlite system setup"
    if missing:
        hints = ", ".join(install_hint(program, find_system()) for program in missing)
        remedy += f" (first: {hints}; or fetch it: boxlite system setup --from REF)"
    return _failed(name, "there is none yet", remedy)


def check_home(layout: Layout) -> Check:
    """Is the home ours, private and writable?"""
    name, home = "home", layout.home
    try:
        status = home.stat()
    except FileNotFoundError:
        parent = next(directory for directory in home.parents if directory.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return _ok(name, f"{home} will be made")
        return _failed(
            name,
            f"{home} cannot be made: {parent} is not writable",
            "choose another with --home or BOXLITE_HOME",
        )
    except OSError as error:
        return _failed(name, f"{home}: {error.strerror}", "choose another with --home or BOXLITE_HOME")
    if not stat.S_ISDIR(status.st_mode):
        return _failed(name, f"{home} is not a directory", "choose another with --home or BOXLITE_HOME")
    if status.st_uid != os.geteuid():
        return _failed(
            name, f"{home} belongs to user {status.st_uid}", f"sudo chown -R {os.geteuid()} {home}"
        )
    if not os.access(home, os.W_OK | os.X_OK):
        return _failed(name, f"{home} is not writable", f"chmod u+rwx {home}, or check its file system")
    if status.st_mode & 0o077:
        return _warning(
            name,
            f"{home} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod 700 {home}",
        )
    return _ok(name, str(home))


def check_space(layout: Layout, free_bytes: int) -> Check:
    name = "disk space"
    detail = f"{free_bytes / 1024**3:.1f} GiB free for {layout.home}"
    remedy = "free some (boxlite system prune), or choose a home on another file system with --home"
    if free_bytes < NO_SPACE_BYTES:
        return _failed(name, detail, remedy)
    return _warning(name, detail, remedy) if free_bytes < LOW_SPACE_BYTES else _ok(name, detail)


def check_socket_path(layout: Layout, system: str) -> Check:
    """Linux reaches sockets of a deep home through a descriptor of their directory; other systems cannot."""
    name = "socket paths"
    limit = SOCKET_PATH_BYTES.get(system, min(SOCKET_PATH_BYTES.values()))
    length = len(os.fsencode(layout.box("x" * 12).portal_socket(15)))
    if length <= limit:
        return _ok(name, f"{length} of at most {limit} bytes")
    if system == "linux":
        return _ok(name, f"{length} bytes, above {limit}: reached through their directory")
    return _failed(name, f"{length} bytes, above the system's {limit}", "choose a shorter home with --home")
