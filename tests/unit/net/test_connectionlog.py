"""Reading the log that a gateway writes, which may be one that was taken over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import MetadataError
from engine.net.connectionlog import ConnectionEntry, ConnectionLog, now, open_log, read_entries


def test_log_is_read_as_it_was_written_and_a_half_line_later(tmp_path: Path) -> None:
    path = tmp_path / "connections.log"
    entry = ConnectionEntry(time=now(), verdict="denied", protocol="tcp", name="example.com", port=443)
    log = ConnectionLog(path)
    log.write(entry)
    log.close()
    with path.open("a") as file:
        file.write('{"time": "2026')
    with open_log(path) as file:
        assert list(read_entries(file)) == [entry]
        assert list(read_entries(file)) == []


def link(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("root's\n")
    path.symlink_to(secret)


@pytest.mark.parametrize(("make", "said"), [
    (link, "cannot be read"), (os.mkfifo, "not a file"), (Path.mkdir, "not a file"),
    (lambda path: path.write_bytes(b"x" * 1_000_000), "a line without end"),
    (lambda path: path.write_bytes(b"[1]\n"), "unreadable line"),
    (lambda path: path.write_bytes(b"\xff\xfe\n"), "unreadable line"),
], ids=["link", "pipe", "directory", "endless", "not ours", "not text"])  # fmt: skip
def test_log_that_is_a_link_a_pipe_or_endless_is_refused(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "connections.log"
    make(path)
    with pytest.raises(MetadataError, match=said), open_log(path) as file:
        list(read_entries(file))
