"""What is true of a home while no command runs on it, whoever was killed before.

processes     each belongs to a box that `ls` shows as active: its shim on record, or a descendant of that
rows          each that is active has a living shim and a machine below it
directories   boxes/ holds those of the rows and no others
locks         nobody holds one
blobs         each is what its name says
databases     sound (PRAGMA integrity_check)
disks         each overlay of a box that does not run opens without corruption (qemu-img check)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.fsutil import try_lock
from engine.layout import Layout
from tests.framework.cli import Boxlite
from tests.framework.processes import Process, descendants, processes_of

ACTIVE = ("running", "stopping", "paused")
SETTLE_S = 1.0
"""How long after the last kill and the last command something may still be on its way."""


@dataclass(slots=True)
class Invariants:
    """Checks one home. Blobs that have not changed since the last check are not read again."""

    boxlite: Boxlite
    _sound_blobs: dict[Path, tuple[int, int]] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return Layout(self.boxlite.home)

    def rows(self) -> list[dict[str, Any]]:
        """What `ls -a` and `inspect` say about every box."""
        ids = self.boxlite.out("ls", "-aq", "--no-trunc").split()
        if not ids:
            return []
        return json.loads(self.boxlite.out("inspect", *ids))

    def broken(self) -> list[str]:
        """Everything that is wrong and stays wrong for SETTLE_S; empty when all is well."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            late = time.monotonic() > deadline
            found = self._broken_now()
            if not found or late:
                return found
            time.sleep(0.05)

    def _broken_now(self) -> list[str]:
        try:
            rows = self.rows()
        except (AssertionError, ValueError) as error:
            return [f"ls or inspect failed: {error}"]
        return [
            *self._processes(rows, processes_of(self.boxlite.home)),
            *self._directories(rows),
            *self._locks(),
            *self._blobs(),
            *self._databases(),
            *self._disks(rows),
        ]

    def _processes(self, rows: list[dict[str, Any]], living: list[Process]) -> list[str]:
        found, owned = [], set()
        for row in rows:
            if row["Status"] not in ACTIVE:
                continue
            shim = next((one for one in living if one.pid == row["State"]["Pid"]), None)
            if shim is None or shim.role != "shim":
                found.append(f"box {row['Name']} is {row['Status']} without a shim")
                continue
            below = descendants(living, shim.pid)
            owned |= {shim.pid, *(one.pid for one in below)}
            if not any(one.role == "machine" for one in below):
                found.append(f"box {row['Name']} is {row['Status']} without a machine")
        return found + [f"orphan: {one}" for one in living if one.pid not in owned]

    def _directories(self, rows: list[dict[str, Any]]) -> list[str]:
        known = {row["Id"] for row in rows}
        there = set(os.listdir(self.layout.boxes_dir)) if self.layout.boxes_dir.is_dir() else set()
        return [f"directory of no box: {name}" for name in sorted(there - known)]

    def _locks(self) -> list[str]:
        layout = self.layout
        paths = [*layout.locks_dir.glob("*"), *layout.boxes_dir.glob("*/lock")]
        paths += [*layout.boxes_dir.glob("*/sockets/*.lock"), *layout.db_dir.glob("*.lock")]
        held = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                lock = try_lock(path)
                if lock is None:
                    held.append(f"lock held: {path}")
                else:
                    os.close(lock)
        return held

    def _blobs(self) -> list[str]:
        bad = []
        for path in (self.layout.images_dir / "blobs").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                state = (path.stat().st_size, path.stat().st_mtime_ns)
                if self._sound_blobs.get(path) == state:
                    continue
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, path.parent.name).hexdigest()
                if digest == path.name:
                    self._sound_blobs[path] = state
                else:
                    bad.append(f"blob {path.name} has digest {digest}")
        return bad

    def _databases(self) -> list[str]:
        found = []
        for path in self.layout.db_dir.glob("*.db"):
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
                (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                found.append(f"{path.name}: {verdict}")
        return found

    def _disks(self, rows: list[dict[str, Any]]) -> list[str]:
        found = []
        for row in rows:
            disk = self.layout.box(row["Id"]).disk_path
            if row["Status"] not in ACTIVE and disk.exists():
                found += [f"disk of {row['Name']}: {text}" for text in _corruption_of(disk)]
        return found


def _corruption_of(disk: Path) -> list[str]:
    """What is wrong with an overlay once it is opened as QEMU opens it, which mends the reference counts of one that was
    not closed (qcow2, lazy refcounts). Done with a copy."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "disk.qcow2"
        shutil.copyfile(disk, copy)
        mended = subprocess.run(
            ("qemu-img", "check", "-q", "-r", "all", str(copy)), capture_output=True, text=True
        )
        done = subprocess.run(("qemu-img", "check", "-q", str(copy)), capture_output=True, text=True)
        return [] if done.returncode == 0 else [(mended.stderr + done.stderr + done.stdout).strip()[-300:]]
