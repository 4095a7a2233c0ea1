"""Pictures drawn over one another, told by a terminal of our own."""

from __future__ import annotations

import re

from boxlite_cli.screen import _Terminal


class Display:
    """As much of a terminal as `screen` uses: a grid, CUU, EL, ED, home."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.grid: list[str] = [""]
        self.row = 0

    def feed(self, text: str) -> None:
        for code, argument, line in re.findall(r"\x1b\[((\d*)[A-Z])|([^\x1b]+)", text):
            if code.endswith("A"):
                self.row -= int(argument or 1)
            elif code == "2J":
                self.grid = [""]
            elif code == "H":
                self.row = 0
            elif code == "J":
                self.grid[self.row :] = [""]
            elif line:
                first, *more = line.split("\n")
                self._put(first)
                for piece in more:
                    self.row += 1
                    if self.row == len(self.grid):
                        self.grid.append("")
                    self._put(piece)

    def _put(self, piece: str) -> None:
        text = piece.strip("\r")
        assert len(text) <= self.columns
        if text:
            self.grid[self.row] = text

    @property
    def shown(self) -> list[str]:
        return [line for line in self.grid if line]


def test_screen_shows_only_the_newest_picture() -> None:
    terminal, display = _Terminal(), Display(20, 10)
    for lines in (["NAME", "one", "two"], ["NAME", "one"], ["NAME", "1", "2", "3"]):
        display.feed(terminal.picture(lines, 20, 10))
        assert display.shown == lines


def test_screen_keeps_to_the_size_of_the_terminal_and_follows_it() -> None:
    terminal, display = _Terminal(), Display(8, 3)
    display.feed(terminal.picture(["a" * 30, "b", "c", "d"], 8, 3))
    assert display.shown == ["a" * 8, "b"]
    display.columns, display.lines = 40, 6
    display.feed(terminal.picture(["a" * 30, "b", "c", "d"], 40, 6))
    assert display.shown == ["a" * 30, "b", "c", "d"]


def test_screen_never_erases_before_it_has_something_to_show() -> None:
    terminal = _Terminal()
    terminal.picture(["NAME", "one"], 20, 10)
    again = terminal.picture(["NAME", "two"], 20, 10)
    assert "\x1b[2J" not in again and again.index("two") < again.index("\x1b[J")
