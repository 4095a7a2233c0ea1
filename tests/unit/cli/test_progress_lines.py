"""What is said of long work where there is no terminal."""

from __future__ import annotations

import io
import re
import time

import pytest

from boxlite_cli.counting import CountedStream
from boxlite_cli.progress import LineDisplay, LiveDisplay, _rate
from engine.progress import Progress

DIGEST = "sha256:b40931ee05f7" + "0" * 52


def test_lines_of_a_pull_are_one_per_layer_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay()
    steps = [
        Progress(stage="pull", item="a:1", message="pulling a:1"),
        Progress(stage="config", item=DIGEST, done=484, total=484, message="pulled"),
        Progress(stage="layer", item=DIGEST, done=0, total=3 << 20),
        Progress(stage="layer", item=DIGEST, done=1 << 20, total=3 << 20),
        Progress(stage="layer", item=DIGEST, done=3 << 20, total=3 << 20, message="pulled"),
        Progress(stage="pull", item="a:1", done=3 << 20, total=3 << 20, message="pulled a:1, 1 of 2 layers"),
    ]
    for step in steps:
        display.show(step)
    said = capsys.readouterr().err
    assert said == "b40931ee05f7: pulled, 3 MiB\npulled a:1, 1 of 2 layers, 3 MiB\n"


def test_lines_of_a_stage_come_when_it_begins_and_not_at_every_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = LineDisplay()
    for done in range(50):
        display.show(Progress(stage="base", item="a:1", done=done, total=50))
    assert capsys.readouterr().err == "building the disk a:1\n"


def test_lines_of_notes_are_all_said_and_none_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay()
    for number in range(2):
        display.show(Progress(stage="note", item="a:1", message=f"mirror {number} does not serve it"))
    display.close()
    display.show(Progress(stage="note", item="a:1", message="late"))
    assert capsys.readouterr().err == "mirror 0 does not serve it\nmirror 1 does not serve it\n"


def test_lines_of_transfers_that_were_asked_for_are_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay()
    for stage in ("copy", "load", "save"):
        display.show(Progress(stage=stage, item="x", done=1 << 20, total=2 << 20))
    assert capsys.readouterr().err == ""


def test_rate_is_told_once_there_is_something_to_tell_it_by() -> None:
    now = time.monotonic()
    half = Progress(stage="load", item="x", done=20 << 20, total=40 << 20)
    assert _rate(half, now, 0) == ""
    assert re.fullmatch(r", (10|9\.\d+) MiB/s, 2 s left", _rate(half, time.monotonic() - 2, 0))
    saved = Progress(stage="save", item="x", done=20 << 20)
    assert re.fullmatch(r", (10|9\.\d+) MiB/s", _rate(saved, time.monotonic() - 2, 0))
    assert _rate(Progress(stage="layer", item="x", done=4, total=4), now - 2, 0) == ""


def test_counted_stream_tells_every_mebibyte_and_changes_nothing() -> None:
    told: list[int] = []
    source = CountedStream(
        io.BytesIO(bytes(5 << 19)), lambda one: told.append(one.done), stage="load", item="x"
    )
    assert sum(len(piece) for piece in iter(lambda: source.read(1 << 19), b"")) == 5 << 19
    target = io.BytesIO()
    counted = CountedStream(target, lambda one: told.append(one.done), stage="save", item="x")
    assert counted.write(bytearray(1 << 20)) == 1 << 20 and target.tell() == 1 << 20
    assert told == [1 << 20, 2 << 20, 1 << 20]


def test_live_display_shows_one_line_for_what_happens_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    display = LiveDisplay()
    for stage, item, message in (
        ("base", "alpine", ""),
        ("guest-image", "", "building the guest image, once"),
        ("guest-image", "root", "adding the agent"),
        ("template", "b76d2a", "starting a machine once"),
    ):
        display.show(Progress(stage=stage, item=item, message=message))
    rich = display._rich
    assert rich is not None
    shown = [task.description for task in rich.tasks if task.visible]
    display.close()
    assert shown == ["starting a machine once"]
