"""What a restricted box tried to reach and what became of it: one JSON object a line, in two files of bounded size.

Fields: time (RFC 3339, UTC), verdict (allowed, denied or failed), protocol, name, address, port, rule, reason, remedy. Empty ones
are left out.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from engine.errors import MetadataError

CAP_BYTES = 8 * 1024 * 1024
MOST_LINE_CHARS = 64 * 1024
MOST_PER_S = 200
"""A box that tries more than this in a second has the rest counted, not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEntry:
    """One attempt. `protocol`: tcp, udp, icmp or dns; `name` what it said, or asked for; `port` 0: none."""

    time: str
    verdict: str
    protocol: str
    name: str = ""
    address: str = ""
    port: int = 0
    rule: str = ""
    reason: str = ""
    remedy: str = ""

    @property
    def target(self) -> str:
        """Where it was going, for people."""
        host = self.name or self.address
        if not self.port:
            return host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ConnectionLog:
    """Writes the log. A full disk costs entries, not connections."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._second = 0
        self._written = 0
        self._left_out = 0

    def write(self, entry: ConnectionEntry) -> None:
        second = int(time.monotonic())
        if second != self._second:
            left_out, self._second, self._written, self._left_out = self._left_out, second, 0, 0
            if left_out:
                self._append(
                    ConnectionEntry(
                        time=now(),
                        verdict="denied",
                        protocol="any",
                        reason=f"{left_out} more attempts within a second are not listed",
                    )
                )
        self._written += 1
        if self._written > MOST_PER_S:
            self._left_out += 1
            return
        self._append(entry)

    def _append(self, entry: ConnectionEntry) -> None:
        fields = {name: value for name, value in asdict(entry).items() if value}
        try:
            self._file.write(json.dumps(fields) + "\n")
            self._file.flush()
            if self._file.tell() >= CAP_BYTES:
                self._file.close()
                self._path.replace(rotated(self._path))
                self._file = self._path.open("a", encoding="utf-8")
        except OSError:
            return

    def close(self) -> None:
        self._file.close()


def rotated(path: Path) -> Path:
    """Where the older half of a log is."""
    return path.with_name(path.name + ".1")


def open_log(path: Path) -> TextIO:
    """For reading. The directory is the gateway's, so nothing but a file is believed to be the log: no link, no pipe. Raises
    FileNotFoundError, MetadataError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MetadataError(f"the network log {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise MetadataError(f"the network log {path} is not a file")
    return open(fd, encoding="utf-8", errors="replace")


def read_entries(file: TextIO) -> Iterator[ConnectionEntry]:
    """Entries from the file's position on; stops before a line that is not whole yet. Raises MetadataError."""
    while True:
        start = file.tell()
        line = file.readline(MOST_LINE_CHARS)
        if len(line) == MOST_LINE_CHARS:
            raise MetadataError("the network log has a line without end")
        if not line.endswith("\n"):
            file.seek(start)
            return
        try:
            yield ConnectionEntry(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise MetadataError(f"the network log has an unreadable line: {error}") from error
