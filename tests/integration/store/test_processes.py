"""The store shared by several processes, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import DatabaseError
from engine.events import EventKind
from engine.layout import Layout
from engine.model import BoxStatus
from engine.store import BoxStore
from tests.framework.records import make_record

ROOT = Path(__file__).parents[3]


def start(home: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.framework.store_worker", str(home), *words],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


async def test_first_use_by_several_processes_makes_one_database(tmp_path: Path) -> None:
    workers = [start(tmp_path, "insert-many", f"w{number}", "10") for number in range(5)]
    results = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 5, results
    async with BoxStore(Layout(tmp_path)) as store:
        assert len(await store.list()) == 50
        assert [event.cursor for event in await store.events()] == list(range(1, 51))


async def test_same_name_taken_at_once_goes_to_one(tmp_path: Path) -> None:
    workers = [start(tmp_path, "insert", "web") for _ in range(5)]
    errors = [worker.communicate(timeout=60)[1] for worker in workers]
    assert sorted(worker.returncode for worker in workers) == [0, 3, 3, 3, 3], errors
    assert sum("AlreadyExistsError" in text for text in errors) == 4


async def test_same_box_started_at_once_is_started_by_one(tmp_path: Path) -> None:
    async with BoxStore(Layout(tmp_path)) as store:
        await store.insert(make_record("web"))
        workers = [start(tmp_path, "start", "web") for _ in range(5)]
        errors = [worker.communicate(timeout=60)[1] for worker in workers]
        assert sorted(worker.returncode for worker in workers) == [0, 3, 3, 3, 3], errors
        kinds = [event.kind for event in await store.events()]
        assert kinds.count(EventKind.STARTED) == 1


async def test_killed_writers_leave_only_whole_boxes(tmp_path: Path) -> None:
    promised = 0
    for round_number in range(6):
        worker = start(tmp_path, "insert-many", f"r{round_number}", "100000")
        assert worker.stdout is not None
        for _ in range(5 + round_number * 3):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        # Not `communicate`, which does not know the lines that `readline` has read ahead.
        promised += 5 + round_number * 3 + len(worker.stdout.read().split())
        worker.communicate(timeout=60)
    async with BoxStore(Layout(tmp_path)) as store:
        records = await store.list()
        assert promised <= len(records) <= promised + 6
        assert len(await store.events()) == len(records)
        assert {record.status for record in records} == {BoxStatus.CONFIGURED}


async def test_transaction_of_a_killed_writer_is_undone_and_blocks_nobody(tmp_path: Path) -> None:
    async with BoxStore(Layout(tmp_path), busy_timeout_s=0.2) as store:
        record = make_record("web")
        await store.insert(record)
        worker = start(tmp_path, "hold-a-transaction")
        assert worker.stdout is not None
        assert worker.stdout.readline() == "holding\n"
        assert await store.list() == [record], "a reader does not wait for a writer"
        with pytest.raises(DatabaseError, match="locked") as caught:
            await store.insert(make_record("db"))
        assert "another command" in str(caught.value.hint)
        worker.kill()
        worker.communicate(timeout=60)
        await store.insert(make_record("db"))
        assert len(await store.list()) == 2


def in_small_file_system(size: str, mode: str = "rw") -> tuple[str, ...]:
    """A prefix that runs a command with a small tmpfs of its own at /mnt; skips where that is not allowed."""
    script = f'mount -t tmpfs -o size={size},mode=0700 boxlite /mnt && exec "$@"'
    if mode == "ro":
        script = f'mount -t tmpfs -o size={size} boxlite /mnt && mkdir /mnt/db && mount -o remount,ro /mnt && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount in a user namespace: {probe.stderr.strip()}")
    return prefix


def test_full_disk_is_named_as_such() -> None:
    worker = start(Path("/mnt"), "insert-many", "w", "100000", prefix=in_small_file_system("1m"))
    out, errors = worker.communicate(timeout=60)
    assert worker.returncode == 3, errors
    assert len(out.split()) > 10
    assert "ResourceExhaustedError" in errors
    assert "free disk space" in errors


def test_no_room_for_a_first_database_is_named_as_such() -> None:
    worker = start(Path("/mnt"), "insert", "web", prefix=in_small_file_system("8k"))
    errors = worker.communicate(timeout=60)[1]
    assert worker.returncode == 3, errors
    assert "ResourceExhaustedError" in errors


def test_read_only_file_system_is_named_as_such() -> None:
    worker = start(Path("/mnt"), "insert", "web", prefix=in_small_file_system("1m", mode="ro"))
    errors = worker.communicate(timeout=60)[1]
    assert worker.returncode == 3, errors
    assert "writable" in errors or "Read-only" in errors
