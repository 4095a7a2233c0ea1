"""The log of the main command's output: frames of time, stream and bytes, as they came, within a cap.

A frame is FRAME (nanoseconds since 1970, stream 1 or 2, length) and the data. When the file reaches the cap it
becomes `output.log.1`, replacing the one before it: at most twice the cap is kept. The first bytes of a file are MAGIC.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from engine.cappedfile import CappedFile
from engine.model import LogRecord
from guest.wire.constants import OUTPUT_FRAME_BYTES, OUTPUT_HEADER

MAGIC = b"BOXLITE-OUTPUT-1\n"
FRAME = struct.Struct(">QBI")
CAP_BYTES = 32 * 1024 * 1024
CONSOLE_CAP_BYTES = 4 * 1024 * 1024
STREAMS = {1: "stdout", 2: "stderr"}


class OutputLog:
    """Writes the log of one start. What comes from the guest is parsed here and never trusted: a frame that is none
    ends the log with a note, the box goes on."""

    def __init__(self, path: Path) -> None:
        self._file = CappedFile(path, cap_bytes=CAP_BYTES, head=MAGIC, append=True)
        self._pending = bytearray()
        self._broken = False

    def feed(self, chunk: bytes) -> None:
        """Take in bytes of the output port."""
        if self._broken:
            return
        self._pending += chunk
        while len(self._pending) >= OUTPUT_HEADER.size:
            stream, length = OUTPUT_HEADER.unpack_from(self._pending)
            if stream not in STREAMS or length > OUTPUT_FRAME_BYTES:
                self._broken = True
                self._pending.clear()
                self._write(2, b"[boxlite: the rest of the output is not readable]\n")
                return
            end = OUTPUT_HEADER.size + length
            if len(self._pending) < end:
                return
            text = bytes(self._pending[OUTPUT_HEADER.size : end])
            del self._pending[:end]  # first: what cannot be written is lost, not kept
            self._write(stream, text)

    def _write(self, stream: int, text: bytes) -> None:
        self._file.write(FRAME.pack(time.time_ns(), stream, len(text)) + text)

    def close(self) -> None:
        self._file.close()


def read_frames(file: BinaryIO) -> Iterator[LogRecord]:
    """The records from the file's position on; stops before a frame that is not whole yet (the position is then at
    its beginning, so that a follower can come back)."""
    if file.tell() == 0 and file.read(len(MAGIC)) != MAGIC:
        file.seek(0)
        return
    while True:
        start = file.tell()
        header = file.read(FRAME.size)
        if len(header) == FRAME.size:
            time_ns, stream, length = FRAME.unpack(header)
            text = file.read(length)
            if len(text) == length:
                yield LogRecord(
                    time=datetime.fromtimestamp(time_ns / 1e9, UTC),
                    stream="stderr" if stream == 2 else "stdout",
                    data=text,
                )
                continue
        file.seek(start)
        return
