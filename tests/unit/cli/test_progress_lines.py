"""What is said of long work where there is no terminal."""

from __future__ import annotations

import pytest

from boxlite_cli.progress import LineDisplay
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
