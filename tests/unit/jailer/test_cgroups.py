"""Control groups: the call to systemd as words, version 2 on a directory that looks like it, version 1 for real."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from engine.jailer.cgroups import ROOT, GroupLimits, build_scope_argv, limits_of_machine, make_group

LIMITS = GroupLimits(memory_bytes=1 << 30, processes=100, cpus=2)
UNIFIED = ROOT / "unified"


def controllers_of(hierarchy: Path, *, default: str) -> list[str]:
    try:
        return (hierarchy / "cgroup.controllers").read_text().split()
    except OSError:
        return [default]


def test_limits_leave_a_machine_what_it_needs() -> None:
    limits = limits_of_machine(memory_mib=512, cpus=1, processes=None)
    assert limits == GroupLimits(memory_bytes=(512 << 20) + (1 << 30), processes=1024, cpus=2)


def test_scope_of_an_ordinary_user_is_asked_of_the_user_s_systemd() -> None:
    argv = build_scope_argv("abc", [7, 8], LIMITS, user=True)
    assert " ".join(argv) == (
        "busctl --user --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1"
        " org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv)) boxlite-abc.scope fail 5"
        " PIDs au 2 7 8 MemoryMax t 1073741824 TasksMax t 100 CPUQuotaPerSecUSec t 2000000 IOWeight t 50 0"
    )


def test_scope_of_root_is_asked_of_the_system_s_systemd() -> None:
    argv = build_scope_argv("abc", [7], LIMITS, user=False)
    assert argv[1] == "--system"
    assert argv[2:] == build_scope_argv("abc", [7], LIMITS, user=True)[2:]


def test_group_of_version_2_has_all_limits(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids cpu io")
    group = make_group("abc", [7], LIMITS, tmp_path)
    made = tmp_path / "boxlite" / "abc"
    assert (group.kind, group.paths) == ("v2", (made,))
    written = {path.name: path.read_text() for path in made.iterdir()}
    assert written == {
        "memory.max": "1073741824", "pids.max": "100", "cpu.max": "200000 100000", "io.weight": "50", "cgroup.procs": "7",
    }  # fmt: skip


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(ROOT / "memory", os.W_OK),
    reason="needs root and control groups of version 1",
)
def test_group_of_version_1_limits_a_real_process_and_goes_with_it() -> None:
    process = subprocess.Popen(("sleep", "60"))
    try:
        group = make_group(f"test-{process.pid}", [process.pid], LIMITS, ROOT)
        assert group.kind == "v1"
        membership = Path(f"/proc/{process.pid}/cgroup").read_text()
        assert f"memory:/boxlite/test-{process.pid}" in membership
        assert f"pids:/boxlite/test-{process.pid}" in membership
        assert int((ROOT / f"memory/boxlite/test-{process.pid}/memory.limit_in_bytes").read_text()) == 1 << 30
    finally:
        process.kill()
        process.wait()
    asyncio.run(group.remove())
    assert not any(path.exists() for path in group.paths)


@pytest.mark.skipif(
    os.geteuid() != 0 or "memory" in controllers_of(UNIFIED, default="memory"),
    reason="needs root and a hierarchy of version 2 whose controllers are with version 1",
)
def test_group_of_version_2_without_any_controller_says_so_and_leaves_nothing() -> None:
    """A real hierarchy, beside those of version 1: a group could be made there, and would limit nothing."""
    group = make_group("test-without", [], LIMITS, UNIFIED)
    assert (group.kind, group.paths) == ("none", ())
    assert not (UNIFIED / "boxlite").exists()


def test_group_where_nothing_is_mounted_says_so(tmp_path: Path) -> None:
    group = make_group("abc", [os.getpid()], LIMITS, tmp_path / "nothing")
    assert group.kind == "none" and group.reason
