"""A table that is drawn again and again in its place, on a terminal; elsewhere one after the other."""

from __future__ import annotations

import contextlib
import shutil
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
    the new one: nothing is ever blank in between, so nothing flickers (ECMA-48: CUU, EL, ED). After a change of size the
    terminal has folded the lines anew, nobody knows where: then everything is drawn afresh from the top."""

    def __init__(self) -> None:
        self._height = 0
        self._size: tuple[int, int] | None = None

    def show(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        size = shutil.get_terminal_size()
        sys.stdout.write(self.picture(aligned([headings, *rows]), size.columns, size.lines))
        sys.stdout.flush()

    def picture(self, lines: Sequence[str], columns: int, height: int) -> str:
        """What to send so that the lines, as far as they fit, are all that is seen of this and earlier pictures."""
        shown = [line[:columns] for line in lines][: max(height - 1, 1)]
        start = f"\r\x1b[{self._height}A" if self._height else "\r"
        if self._size not in (None, (columns, height)):
            start = "\x1b[2J\x1b[H"
        self._size, self._height = (columns, height), len(shown)
        return start + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"
