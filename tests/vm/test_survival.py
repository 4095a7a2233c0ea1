"""What a box wrote is still there: after a stop, after a power cut of its machine, after the host was restarted."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from engine.process import process_start_ticks
from tests.framework.cli import Boxlite
from tests.framework.waiting import eventually, inspect, wait_status

pytestmark = pytest.mark.vm

WRITE = "echo fsynced > /root/data && sync && mkdir -p /srv/deep && ln -sf data /root/link && sync"
CHURN = (
    "i=0; while :; do i=$((i+1)); dd if=/dev/urandom of=/srv/junk$((i%20)) bs=64k count=8 2>/dev/null; done"
)


def processes_of(boxlite: Boxlite, name: str) -> list[int]:
    """The shim of a box and all its descendants."""
    found = [int(inspect(boxlite, name)["State"]["Pid"])]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def check_file_system(boxlite: Boxlite, name: str) -> None:
    """The kernel complained about nothing when it mounted and read the disk."""
    boxlite("exec", name, "sh", "-c", "find / -xdev -type f -exec cat {} + > /dev/null", check=True)
    console = boxlite("logs", "--console", name).stdout.decode(errors="replace")
    assert "EXT4-fs error" not in console and "I/O error" not in console


def test_files_survive_stop_and_start_and_restart(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "kept", alpine, "sleep", "600", check=True)
    boxlite("exec", "kept", "sh", "-c", "echo unsynced > /root/data", check=True)
    boxlite("stop", "-t", "0", "kept", check=True)
    boxlite("start", "kept", check=True)
    assert boxlite.out("exec", "kept", "cat", "/root/data") == "unsynced"
    boxlite("restart", "-t", "0", "kept", check=True)
    assert boxlite.out("exec", "kept", "cat", "/root/data") == "unsynced"


def test_fsynced_files_survive_a_power_cut_of_the_machine(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "cut", alpine, "sh", "-c", CHURN, check=True)
    for round_ in range(2):
        boxlite("exec", "cut", "sh", "-c", f"{WRITE} && echo {round_} > /root/round && sync", check=True)
        machine = next(pid for pid in processes_of(boxlite, "cut") if program(pid).startswith("qemu-system"))
        os.kill(machine, signal.SIGKILL)
        wait_status(boxlite, "cut", "failed", "stopped", within_s=15)
        shown = inspect(boxlite, "cut")["State"]
        assert "machine" in shown["Reason"] and shown["ExitCode"] == 137
        boxlite("start", "cut", check=True)
        assert boxlite.out("exec", "cut", "cat", "/root/link", "/root/round").split() == [
            "fsynced",
            str(round_),
        ]
        check_file_system(boxlite, "cut")


def test_boxes_survive_a_restart_of_the_host(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "server", "-p", "127.0.0.1::80", alpine, "sleep", "600", check=True)
    boxlite("create", "--name", "resumable", alpine, check=True)
    for name in ("server", "resumable"):
        boxlite("exec", name, "sh", "-c", WRITE, check=True)
    victims = [pid for name in ("server", "resumable") for pid in processes_of(boxlite, name)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(program(pid) for pid in victims), within_s=10)
    leftovers = [path.name for path in boxlite.home.glob("boxes/*/sockets/*.sock")]
    assert "shim.sock" in leftovers and "portal-0.sock" in leftovers
    boot_anew(boxlite.home)

    assert boxlite.out("ls", "-q") == ""
    for name in ("server", "resumable"):
        shown = inspect(boxlite, name)["State"]
        assert (shown["Status"], shown["Reason"], shown["Pid"]) == ("stopped", "the host was restarted", None)
    assert boxlite.out("exec", "resumable", "cat", "/root/link") == "fsynced"
    boxlite("start", "server", check=True)
    assert boxlite.out("exec", "server", "cat", "/root/link") == "fsynced"
    assert boxlite.out("port", "server").startswith("80/tcp -> 127.0.0.1:")
    for name in ("server", "resumable"):
        check_file_system(boxlite, name)
        boxlite("rm", "-f", name, check=True)
    assert boxlite.out("ls", "-aq") == "" and not list((boxlite.home / "boxes").iterdir())


def boot_anew(home: Path) -> None:
    """Make every record one of an earlier boot of the host, whose process ids now belong to others: to this test."""
    with sqlite3.connect(home / "db" / "boxes.db") as database:
        for box_id, state in database.execute("SELECT id, state FROM boxes").fetchall():
            changed = json.loads(state) | {
                "boot_id": "00000000-0000-0000-0000-000000000000",
                "pid": os.getpid(),
                "pid_start": process_start_ticks(os.getpid()),
            }
            database.execute("UPDATE boxes SET state = ? WHERE id = ?", (json.dumps(changed), box_id))
    database.close()
