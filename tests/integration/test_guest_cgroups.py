"""Which control groups serve again. The kernel's files are written by hand here: the host need not have version 2 mounted."""

from __future__ import annotations

from pathlib import Path

from guest.cgroups import Cgroup, CgroupPool, Counter


def test_cgroup_pool_gives_an_empty_group_again(tmp_path: Path) -> None:
    pool = CgroupPool(Cgroup(tmp_path))
    first = pool.take()
    assert pool.take().path != first.path
    assert pool.give_back(first)
    assert pool.take() is first


def test_cgroup_pool_waits_for_what_still_runs_in_a_group(tmp_path: Path) -> None:
    pool = CgroupPool(Cgroup(tmp_path))
    left, other = pool.take(), pool.take()
    events = left.path / "cgroup.events"
    events.write_text("populated 1\nfrozen 0\n")
    assert not pool.give_back(left)
    events.write_text("populated 0\nfrozen 0\n")
    assert pool.give_back(other)
    assert {pool.take().path, pool.take().path} == {left.path, other.path}


def test_cgroup_pool_never_gives_a_killed_group_again(tmp_path: Path) -> None:
    pool = CgroupPool(Cgroup(tmp_path))
    killed = pool.take()
    killed.kill()
    assert pool.give_back(killed)
    assert pool.take().path != killed.path


def test_counter_reads_its_field_as_it_is_now(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("oom 3\noom_kill 1\noom_group_kill 0\n")
    counter = Counter(Cgroup(tmp_path), "memory.events", "oom_kill")
    assert counter.read() == 1
    events.write_text("oom 4\noom_kill 12\noom_group_kill 0\n")
    assert counter.read() == 12
    assert Counter(Cgroup(tmp_path), "no.such.file", "oom_kill").read() == 0
