from __future__ import annotations

from pathlib import Path

import pytest

from engine.host.cgroups import CgroupMode, find_cgroups


def membership(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "membership"
    path.write_text(text)
    return path


def test_unified_with_a_group_of_our_own_is_delegated(tmp_path: Path) -> None:
    group = tmp_path / "user.slice" / "me"
    group.mkdir(parents=True)
    for directory in (tmp_path, group):
        for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control"):
            (directory / name).write_text("cpu memory pids\n")
    found = find_cgroups(tmp_path, membership(tmp_path, "0::/user.slice/me\n"))
    assert (found.mode, found.delegated, found.path) == (CgroupMode.UNIFIED, True, group)
    assert found.controllers == ("cpu", "memory", "pids")


def test_unified_with_a_group_out_of_sight_is_not_delegated(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    found = find_cgroups(tmp_path, membership(tmp_path, "0::/../elsewhere\n"))
    assert (found.mode, found.delegated) == (CgroupMode.UNIFIED, False)


@pytest.mark.parametrize(
    ("entries", "mode"),
    [
        (("memory/tasks", "unified/cgroup.procs"), CgroupMode.HYBRID),
        (("memory/tasks",), CgroupMode.LEGACY),
        ((), CgroupMode.NONE),
    ],
)
def test_older_mounts_are_told_apart(tmp_path: Path, entries: tuple[str, ...], mode: CgroupMode) -> None:
    for entry in entries:
        (tmp_path / entry).parent.mkdir(exist_ok=True)
        (tmp_path / entry).touch()
    assert find_cgroups(tmp_path, membership(tmp_path, "1:memory:/\n")).mode is mode
