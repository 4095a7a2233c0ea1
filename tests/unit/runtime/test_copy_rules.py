"""Where a copy goes, row by row."""

from __future__ import annotations

import pytest

from boxlite_cli.commands.cp import Place, parse_place
from engine.errors import InvalidArgumentError
from engine.runtime.copy_rules import Destination, Source, TargetKind, choose_destination, source_name

MISSING, FILE, DIRECTORY = TargetKind.MISSING, TargetKind.FILE, TargetKind.DIRECTORY


@pytest.mark.parametrize(
    ("is_directory", "name", "target", "kind", "expected"),
    [
        (False, "f", "/srv/new", MISSING, ("/srv", "new")),
        (False, "f", "new", MISSING, (".", "new")),
        (False, "f", "/new", MISSING, ("/", "new")),
        (False, "f", "/srv/old", FILE, ("/srv", "old")),
        (False, "f", "/srv", DIRECTORY, ("/srv", "f")),
        (False, "f", "/srv/", DIRECTORY, ("/srv/", "f")),
        (False, "f", "/nowhere/", MISSING, ("/nowhere/", "f")),
        (False, "f", ".", DIRECTORY, (".", "f")),
        (True, "d", "/srv", DIRECTORY, ("/srv", "d")),
        (True, "d", "/new", MISSING, ("/new", "d")),
        (True, "", "/srv", DIRECTORY, ("/srv", "")),
        (True, "", "/new", MISSING, ("/new", "")),
    ],
)
def test_destination_follows_the_table(
    is_directory: bool, name: str, target: str, kind: TargetKind, expected: tuple[str, str]
) -> None:
    place = choose_destination(Source(path="x", name=name, is_directory=is_directory), target, kind)
    assert place == Destination(directory=expected[0], name=expected[1])


@pytest.mark.parametrize(
    ("is_directory", "name", "target", "kind"),
    [
        (True, "d", "/srv/f", FILE),
        (True, "", "/srv/f", FILE),
        (False, "f", "/srv/f/", FILE),
        (False, "", "/srv", DIRECTORY),
    ],
)
def test_destination_that_cannot_be_is_refused(
    is_directory: bool, name: str, target: str, kind: TargetKind
) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a directory"):
        choose_destination(Source(path="x", name=name, is_directory=is_directory), target, kind)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", "b"), ("b", "b"), ("a/b/", "b"), ("a/b//", "b"), ("/", ""), (".", ""), ("..", ""),
        ("a/.", ""), ("a/..", ""), ("/a/./", ""), ("...", "..."),
    ],
)  # fmt: skip
def test_source_name_is_the_last_component(path: str, expected: str) -> None:
    assert source_name(path) == expected
    assert source_name(path, include_parent=False) == ""


@pytest.mark.parametrize(
    ("text", "box", "path"),
    [
        ("web:/srv", "web", "/srv"), ("web:srv", "web", "srv"), ("web:/a:b", "web", "/a:b"),
        ("./a:b", None, "./a:b"), ("/a:b", None, "/a:b"), ("d/a:b", None, "d/a:b"), ("plain", None, "plain"),
        ("-", None, "-"),
    ],
)  # fmt: skip
def test_place_with_a_colon_is_in_a_box(text: str, box: str | None, path: str) -> None:
    assert parse_place(text) == Place(box, path)


@pytest.mark.parametrize("text", ["", ":/srv", "web:"])
def test_place_without_box_or_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_place(text)
