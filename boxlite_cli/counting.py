"""A stream that tells how much of it has passed, for the progress of load and save."""

from __future__ import annotations

from typing import IO, Any

from engine.progress import Progress, ProgressSink

STEP_BYTES = 1 << 20


class CountedStream:
    """Reads from or writes to a binary stream and reports `stage` at most once a mebibyte. Anything else a stream can do
    is the stream's own."""

    def __init__(
        self, stream: IO[bytes], progress: ProgressSink, *, stage: str, item: str, total: int | None = None
    ) -> None:
        self._stream = stream
        self._progress = progress
        self._stage, self._item, self._total = stage, item, total
        self._done = self._told = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count(len(data))
        return data

    def write(self, data: Any) -> int:
        self._stream.write(data)
        size = len(memoryview(data).cast("B"))
        self._count(size)
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _count(self, size: int) -> None:
        self._done += size
        if self._done - self._told >= STEP_BYTES:
            self._told = self._done
            self._progress(Progress(stage=self._stage, item=self._item, done=self._done, total=self._total))
