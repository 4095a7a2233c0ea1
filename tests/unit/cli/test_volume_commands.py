"""`boxlite volume`, as people type it; nothing of it needs a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite


@pytest.fixture
def boxlite(tmp_path: Path) -> Boxlite:
    return Boxlite(tmp_path / "home")


def test_volume_commands_make_show_and_remove(boxlite: Boxlite) -> None:
    assert boxlite.out("volume", "create", "--label", "kind=db", "data") == "data"
    assert boxlite.out("volume", "create", "--name", "more") == "more"
    (shown,) = json.loads(boxlite.out("volume", "inspect", "data"))
    assert shown["Labels"] == {"kind": "db"} and Path(shown["Mountpoint"]).is_dir()
    Path(shown["Mountpoint"], "x").write_bytes(b"x" * 100_000)
    lines = boxlite.out("volume", "ls").splitlines()
    assert lines[0].split() == ["DRIVER", "VOLUME", "NAME", "BOXES", "SIZE"] and "104 KiB" in lines[1]
    assert boxlite.out("volume", "ls", "-q", "--filter", "label=kind=db") == "data"
    assert boxlite.out("volume", "get", "data", "--format", "{{.Name}} {{.Driver}}") == "data local"
    assert boxlite.out("volume", "prune", "-f") == ""  # those with a name stay
    done = boxlite("volume", "rm", "data", "nosuch")
    assert (done.returncode, done.stdout) == (1, b"data\n")
    assert b"volume 'nosuch' not found" in done.stderr
    assert boxlite("volume", "rm", "-f", "nosuch").returncode == 0
    assert boxlite.out("volume", "prune", "-af").splitlines()[0] == "more"
    assert boxlite.out("volume", "ls", "-q") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "a/b"), "volume name 'a/b'"),
        (("create", "--driver", "nfs", "data"), "driver 'nfs'"),
        (("ls", "--filter", "colour=red"), "is not KEY=VALUE"),
        (("ls", "-q", "--format", "json"), "cannot be combined"),
        (("inspect", "nosuch"), "volume 'nosuch' not found"),
    ],
)
def test_volume_command_that_is_wrong_says_why(boxlite: Boxlite, words: tuple[str, ...], said: str) -> None:
    done = boxlite("volume", *words)
    assert done.returncode != 0 and said in done.stderr.decode()


def test_volume_name_that_is_nearly_one_is_told_which(boxlite: Boxlite) -> None:
    boxlite("volume", "create", "cache", check=True)
    for words in (
        ("volume", "rm", "cahce"),
        ("volume", "inspect", "cahce"),
        ("run", "-v", "cahce:/x", "alpine"),
    ):
        assert "did you mean cache?" in boxlite(*words).stderr.decode()
