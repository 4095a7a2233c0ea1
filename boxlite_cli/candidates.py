"""`boxlite __complete SOURCE WORD [HOME]`: what a shell asks while somebody types.

Prints a candidate a line, with a tab and a word about it where there is one. Must be quick, so it imports next to nothing,
looks into the databases itself and never complains: a shell has no place to show an error. The scripts in
`completions/` call it; `boxlite_cli.pages.kinds` has the sources.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

WORD = "__complete"
_STATUSES = {
    "boxes": (),
    "active": ("running", "paused", "stopping"),
    "inactive": ("configured", "stopped", "failed", "unknown"),
    "paused": ("paused",),
}


def print_candidates(arguments: Sequence[str]) -> int:
    """Answer one question; its words are those after `__complete`."""
    source, word, home = (*arguments, "", "", "")[:3]
    lines = "".join(f"{line}\n" for line in _candidates(source, word, _home_dir(home)))
    try:
        sys.stdout.write(lines)
        sys.stdout.flush()
    except OSError:
        return 1
    return 0


def _candidates(source: str, word: str, home: str) -> Iterator[str]:
    if source in _STATUSES:
        yield from _boxes(home, word, _STATUSES[source])
    elif source == "images":
        yield from _images(home, word)
    elif source == "things":
        yield from _boxes(home, word, ())
        yield from _images(home, word)
    elif source == "volumes":
        yield from _volumes(home, word)
    elif source == "places":
        yield from _places(home, word)
    elif source == "topics":
        yield from _topics(word)


def _boxes(home: str, word: str, statuses: Sequence[str], *, end: str = "") -> Iterator[str]:
    from engine.store.glance import glance_boxes

    for name, status, image in glance_boxes(home, beginning=word, statuses=statuses):
        yield f"{name}{end}\t{status} {image}"


def _images(home: str, word: str) -> Iterator[str]:
    from engine.store.glance import glance_images

    yield from (f"{name}\timage" for name in glance_images(home, beginning=word))


def _volumes(home: str, word: str) -> Iterator[str]:
    from engine.store.glance import glance_volumes

    yield from (f"{name}:\tvolume" for name in glance_volumes(home, beginning=word))


def _places(home: str, word: str) -> Iterator[str]:
    """Boxes for the first side of a colon, paths inside one for the second."""
    box, colon, path = word.partition(":")
    if not colon:
        yield from _boxes(home, word, (), end=":")
    elif box and "/" not in box:
        from boxlite_cli.box_paths import paths_in_box

        yield from (f"{box}:{found}" for found in paths_in_box(home, box, path))


def _topics(word: str) -> Iterator[str]:
    from boxlite_cli.catalog import ENTRIES

    yield from (f"{entry.name}\t{entry.summary}" for entry in ENTRIES if entry.name.startswith(word))


def _home_dir(given: str) -> str:
    """As `settings` finds it, without its checks."""
    return given or os.environ.get("BOXLITE_HOME") or os.path.expanduser("~/.boxlite")  # noqa: PTH111  pathlib costs as much as all of this
