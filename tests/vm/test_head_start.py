"""Machines started before the command line is read: which box gets one, and what is left of the others."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import boxlite as library
from tests.framework.cli import Boxlite
from tests.framework.processes import processes_of
from tests.framework.waiting import eventually

USUAL = "usual-machine"


def machine_words(boxlite: Boxlite, *words: str) -> tuple[str, ...]:
    """The words of QEMU's command line for a box started so."""
    boxlite("run", "-d", "--name", "seen", *words, "sleep", "600", check=True)
    machines = [process.words for process in processes_of(boxlite.home) if process.role == "machine"]
    boxlite("rm", "-f", "seen", check=True)
    assert len(machines) == 1
    return machines[0]


def has_head_start(words: tuple[str, ...]) -> bool:
    return any("/tmp/head-" in word for word in words)


def left_over(home: Path) -> list[object]:
    return [*processes_of(home), *(home / "tmp").glob("head-*")]


def test_second_box_of_the_same_kind_gets_the_machine_started_ahead(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    assert has_head_start(machine_words(boxlite, alpine))
    assert not list((boxlite.home / "tmp").glob("head-*"))


@pytest.mark.parametrize("words", [("--network", "none"), ("--allow-net", "nothing.example")])
def test_box_without_a_card_gets_a_machine_of_its_kind_ahead(
    boxlite: Boxlite, alpine: str, words: tuple[str, ...]
) -> None:
    boxlite("run", "--rm", *words, alpine, "true", check=True)
    assert has_head_start(machine_words(boxlite, *words, alpine))
    boxlite("run", "--rm", *words, alpine, "sh", "-c", "! ls /sys/class/net/eth0", check=True)
    assert not left_over(boxlite.home)


def test_restricted_box_with_a_head_start_is_restricted(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", "--allow-net", "nothing.example", alpine, "true", check=True)
    done = boxlite(
        "run", "--rm", "--allow-net", "nothing.example", alpine, "wget", "-O-", "http://192.0.2.1/"
    )
    assert b"403" in done.stderr
    # A wrong guess: the machine started ahead has no card, and the box is to have one.
    assert "eth0" in boxlite.out("run", "--rm", "--host-access", "enabled", alpine, "ls", "/sys/class/net")
    assert not left_over(boxlite.home)


def test_box_that_needs_another_machine_gets_another(boxlite: Boxlite, alpine: str, tmp_path: Path) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    assert not has_head_start(machine_words(boxlite, "--memory", "256", alpine))
    assert not has_head_start(machine_words(boxlite, "-v", f"{tmp_path}:/x", alpine))
    # `start` cannot tell what the box needs: the machine started ahead ends unused.
    boxlite("create", "--memory", "256", "--name", "small", alpine, "sleep", "600", check=True)
    boxlite("start", "small", check=True)
    machines = [process for process in processes_of(boxlite.home) if process.role == "machine"]
    assert len(machines) == 1
    assert not has_head_start(machines[0].words)


async def test_box_of_a_program_gets_the_machine_of_its_own_size_ahead(boxlite: Boxlite, alpine: str) -> None:
    (boxlite.home / f"{USUAL}-card-1-256").unlink(missing_ok=True)
    async with library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime:
        for is_first in (True, False):
            async with await runtime.create(library.BoxOptions(image=alpine, memory_mib=256)):
                machines = [one for one in processes_of(boxlite.home) if one.role == "machine"]
                assert [has_head_start(one.words) for one in machines] == [not is_first]
    assert not left_over(boxlite.home)


def test_machine_nobody_claims_is_gone_with_its_command(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    assert boxlite("run", "--rm", "--pull", "never", "nosuch:1", "true").returncode == 125
    eventually(lambda: not left_over(boxlite.home), within_s=5)


def test_machine_started_ahead_does_not_hold_the_shim_s_lifeline(boxlite: Boxlite, alpine: str) -> None:
    """Or who waits for a shim that was killed would wait for its machine too."""
    boxlite("run", "--rm", alpine, "true", check=True)
    boxlite("run", "-d", "--name", "held", alpine, "sleep", "600", check=True)
    living = processes_of(boxlite.home)
    (shim,) = (process for process in living if process.role == "shim")
    number = shim.words[shim.words.index("engine.shim") + 1]
    lifeline = os.readlink(f"/proc/{shim.pid}/fd/{number}")
    assert lifeline.startswith("socket:")
    below = [process for process in living if process.role in ("jail", "machine")]
    assert len(below) >= 2
    for process in below:
        held = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd")}
        assert lifeline not in held, process


def test_machine_of_a_killed_shim_is_swept_away(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    held = boxlite.popen("run", "--rm", alpine, "true")
    try:
        deadline = time.monotonic() + 20
        while not (shims := [p for p in processes_of(boxlite.home) if p.role == "shim"]):
            assert time.monotonic() < deadline
        os.kill(shims[0].pid, signal.SIGKILL)
    finally:
        held.wait(60)
    boxlite("ls", "-a", check=True)
    eventually(lambda: not left_over(boxlite.home), within_s=5)


def test_damaged_note_costs_nothing_but_time(boxlite: Boxlite, alpine: str) -> None:
    for note in (
        b"",
        b"\0\0\0",
        b"/x\0{}\n\0a b c\0/bin/false",
        b"/x\0{}\n\x003 4 5 6 7 8 9\0/no/such/program",
    ):
        (boxlite.home / USUAL).write_bytes(note)
        assert boxlite.out("run", "--rm", alpine, "echo", "fine") == "fine"
    assert not left_over(boxlite.home)


def test_changed_note_never_decides_how_a_machine_is_jailed(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    note = (boxlite.home / USUAL).read_bytes()
    (boxlite.home / USUAL).write_bytes(note.replace(b"--unshare-net", b"--unshare-uts"))
    words = machine_words(boxlite, alpine)
    assert not has_head_start(words)


def test_shim_with_a_head_start_has_nothing_of_the_command_that_became_it(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)
    with (tmp_path / "open").open("wb") as output:
        starter = boxlite.popen(
            "run", "-d", "--name", "clean", "-e", "WORD=mine", alpine, "sleep", "600",
            preexec_fn=_ignore_what_nohup_ignores, stdout=output,
        )  # fmt: skip
        assert starter.wait(60) == 0
    living = processes_of(boxlite.home)
    (shim,) = (process for process in living if process.role == "shim")
    own = Path(f"/proc/{shim.pid}")
    variables = {line.partition("=")[0] for line in (own / "environ").read_text().split("\0") if line}
    assert variables == {"PATH", "PYTHONPATH", "PYTHONSAFEPATH", "LC_ALL"}
    status = dict(line.split(":\t") for line in (own / "status").read_text().splitlines() if ":\t" in line)
    ignored = sum(1 << (signum - 1) for signum in (signal.SIGPIPE, signal.SIGXFSZ))  # by every Python
    assert int(status["SigIgn"], 16) == ignored
    assert int(status["SigBlk"], 16) == 0
    assert os.getsid(shim.pid) == shim.pid
    held = {os.readlink(entry.path) for entry in os.scandir(own / "fd")}
    assert str(tmp_path / "open") not in held
    assert not any("/head-" in path for path in held)
    children = [process for process in living if process.parent == shim.pid]
    assert [child.role for child in children] == ["jail"]


def _ignore_what_nohup_ignores() -> None:
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
