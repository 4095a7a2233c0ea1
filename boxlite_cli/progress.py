"""How far long work is: live on a terminal and gone when done, plain lines elsewhere, nothing with `-q`.

All of it goes to stderr. Nothing is drawn, and rich is not imported, before there is something to wait for.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from boxlite_cli.failures import say, warn
from boxlite_cli.humane import size_text
from boxlite_cli.styling import console, may_draw
from engine.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

TITLES = {
    "pull": "pulling",
    "layer": "",
    "note": "",
    "copy": "copying",
    "load": "loading",
    "save": "saving",
    "import": "importing",
    "base": "building the disk",
    "template": "preparing the machine (once for this shape)",
    "guest-image": "building the guest system (once)",
}
"""Stages worth showing; the others pass in a moment. A "warning" is always shown, and stays."""

ONCE = ("template", "guest-image")
"""Stages of several steps that have one line, whatever the step; their items mean nothing to people."""
TRANSFERS = ("pull", "layer", "copy", "load", "save", "import")
"""Stages that count bytes."""
LIVE_ONLY = ("copy", "load", "save", "import")
"""Stages that are worth nothing in a log: who asked for them knows."""
LINE_INTERVAL_S = 5.0
RATE_AFTER_S = 1.0


class Display(Protocol):
    def show(self, progress: Progress) -> None: ...
    def close(self) -> None: ...


@contextlib.contextmanager
def progress_display(*, quiet: bool = False) -> Iterator[Display]:
    """A display for the length of a command; `close` ends it earlier, before a box's own output begins."""
    display: Display
    if quiet:
        display = NoDisplay()
    elif may_draw(sys.stderr):
        display = LiveDisplay()
    else:
        display = LineDisplay()
    try:
        yield display
    finally:
        display.close()


class NoDisplay:
    def show(self, progress: Progress) -> None:
        if progress.stage == "warning":
            warn(progress.message)

    def close(self) -> None:
        return


class LineDisplay:
    """Of a pull a line per layer when it is there and one at the end; of other stages a line when they begin, and one
    every few seconds while they last."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._closed = False

    def show(self, progress: Progress) -> None:
        if progress.stage == "warning":
            warn(progress.message)
            return
        with self._lock:
            if self._closed or progress.stage not in TITLES or progress.stage in LIVE_ONLY:
                return
            if not self._is_due(progress):
                return
        say(_line(progress))

    def _is_due(self, progress: Progress) -> bool:
        if progress.stage == "note":
            return True
        if progress.stage in ("pull", "layer"):
            return progress.is_last and bool(progress.message)
        key = (progress.stage, progress.item)
        now = time.monotonic()
        if now - self._seen.get(key, -LINE_INTERVAL_S) < LINE_INTERVAL_S:
            return False
        self._seen[key] = now
        return True

    def close(self) -> None:
        self._closed = True


class LiveDisplay:
    """A line per thing under way, with a bar where the total is known."""

    def __init__(self) -> None:
        self._rich: RichProgress | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._begun: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def show(self, progress: Progress) -> None:
        if progress.stage == "warning":
            self._warn(progress.message)
        if progress.stage not in TITLES:
            return
        with self._lock:
            if self._closed:
                return
            rich = self._started()
            key = (progress.stage, "" if progress.stage in ONCE else progress.item)
            if key not in self._tasks:
                self._retire(rich, progress.stage)
                self._tasks[key] = rich.add_task(_title(progress), total=progress.total, amount="")
                self._begun[key] = (time.monotonic(), progress.done)
            rich.update(
                self._tasks[key],
                completed=progress.done,
                total=progress.total,
                description=_title(progress),
                amount=_amount(progress) + _rate(progress, *self._begun[key]),
            )

    def _retire(self, rich: RichProgress, stage: str) -> None:
        """Take away the lines of what came before: but for the layers of a pull, one thing happens at a time."""
        for (other, _), task in self._tasks.items():
            if other != stage and not {other, stage} <= {"pull", "layer"}:
                rich.update(task, visible=False)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._rich is not None:
                self._rich.stop()
                self._rich = None

    def _warn(self, message: str) -> None:
        """Above the lines that are under way, where there are any."""
        with self._lock:
            if self._rich is None:
                warn(message)
            else:
                self._rich.console.print(f"Warning: {message}", markup=False, highlight=False)

    def _started(self) -> RichProgress:
        if self._rich is None:
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            self._rich = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[amount]}", markup=False),
                TimeElapsedColumn(),
                console=console(stderr=True),
                transient=True,
            )
            self._rich.start()
        return self._rich


def _title(progress: Progress) -> str:
    item = progress.item
    if progress.stage == "layer":
        return f"{item.partition(':')[2][:12]}: {progress.message or 'pulling'}"
    shown = "" if progress.stage in ONCE else item
    return progress.message or " ".join(filter(None, (TITLES[progress.stage], shown)))


def _amount(progress: Progress) -> str:
    if progress.stage not in TRANSFERS or not progress.done:
        return ""
    total = f" of {size_text(progress.total)}" if progress.total and not progress.is_last else ""
    return f"{size_text(progress.done)}{total}"


def _rate(progress: Progress, begun: float, first: int) -> str:
    """`, 12 MiB/s, 5 s left`, once there is something to tell it by."""
    elapsed = time.monotonic() - begun
    moved = progress.done - first
    if progress.stage not in TRANSFERS or progress.is_last or elapsed < RATE_AFTER_S or not moved:
        return ""
    rate = moved / elapsed
    left = "" if not progress.total else f", {(progress.total - progress.done) / rate:.0f} s left"
    return f", {size_text(round(rate))}/s{left}"


def _line(progress: Progress) -> str:
    """`b40931ee05f7: pulled, 3.57 MiB`."""
    return ", ".join(filter(None, (_title(progress), _amount(progress))))
