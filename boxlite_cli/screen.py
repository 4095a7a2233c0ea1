"""A table that is drawn again and again in its place, on a terminal; elsewhere one after the other."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from boxlite_cli.output import aligned, print_lines
from boxlite_cli.styling import may_draw


class Screen(Protocol):
    def show(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None: ...


@contextlib.contextmanager
def screen_or_lines() -> Iterator[Screen]:
    if not may_draw(sys.stdout):
        yield _Lines()
        return
    hide, show = "\x1b[?25l", "\x1b[?25h"
    sys.stdout.write(hide)
    screen = _Terminal()
    try:
        yield screen
    finally:
        sys.stdout.write(show)
        sys.stdout.flush()


class _Lines:
    def show(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print_lines(aligned([headings, *rows]))
        sys.stdout.flush()


class _Terminal:
    """Writes each picture over the one before in a single write, erasing to the end of a line only what is longer than
    the new one: nothing is ever blank in between, so nothing flickers (ECMA-48: CUU, EL, ED)."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        import shutil

        columns, lines = shutil.get_terminal_size()
        picture = [line[:columns] for line in aligned([headings, *rows])][: max(lines - 1, 1)]
        up = f"\x1b[{self._height}A" if self._height else ""
        body = "".join(f"{line}\x1b[K\n" for line in picture)
        sys.stdout.write(f"\r{up}{body}\x1b[J")
        sys.stdout.flush()
        self._height = len(picture)
