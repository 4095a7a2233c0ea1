"""Reading the log of a box's output, to its end or as it grows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from engine.layout import BoxLayout
from engine.model import BoxRecord, LogRecord
from engine.runtime.context import Context
from engine.runtime.records import get_box, log_paths
from engine.shim.outputlog import read_frames

FOLLOW_POLL_S = 0.1


def read_log(box: BoxLayout) -> Iterator[LogRecord]:
    """Everything that is kept, oldest first."""
    for path in log_paths(box):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            yield from read_frames(file)


async def logs(
    context: Context,
    record: BoxRecord,
    *,
    follow: bool,
    tail: int | None,
    since: datetime | None,
    until: datetime | None,
) -> AsyncIterator[LogRecord]:
    """Pieces of output, oldest first; `tail` counts lines of both streams together. With `follow` until the box ends."""
    box = context.layout.box(record.id)
    chosen = (entry for entry in read_log(box) if _within(entry, since, until))
    for entry in chosen if tail is None else _last_lines(chosen, tail):
        yield entry
    if not follow:
        return
    async for entry in _follow(context, record, box):
        if until is not None and entry.time > until:
            return
        if _within(entry, since, until):
            yield entry


def _within(entry: LogRecord, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or entry.time >= since) and (until is None or entry.time <= until)


def _last_lines(entries: Iterator[LogRecord], count: int) -> Iterator[LogRecord]:
    """The last `count` lines, each as a record of its own; a line is what one stream wrote up to a line end."""
    kept: deque[LogRecord] = deque(maxlen=count or None)
    if count == 0:
        return
    open_line: dict[str, bytearray] = {}
    for entry in entries:
        for line in entry.data.splitlines(keepends=True):
            begun = open_line.pop(entry.stream, bytearray())
            begun += line
            if line.endswith(b"\n"):
                kept.append(LogRecord(time=entry.time, stream=entry.stream, data=bytes(begun)))
            else:
                open_line[entry.stream] = begun
        last = entry
    for stream, rest in open_line.items():
        kept.append(
            LogRecord(time=last.time, stream="stderr" if stream == "stderr" else "stdout", data=bytes(rest))
        )
    yield from kept


async def _follow(context: Context, record: BoxRecord, box: BoxLayout) -> AsyncIterator[LogRecord]:
    """What is written from now on. The log is a file others write: it is looked at ten times a second."""
    try:
        file = box.output_log.open("rb")
    except FileNotFoundError:
        return
    with file:
        for _ in read_frames(file):
            pass
        while True:
            active = (await get_box(context, record.id)).status.is_active
            for entry in read_frames(file):
                yield entry
            if not active:
                return
            await asyncio.sleep(FOLLOW_POLL_S)
