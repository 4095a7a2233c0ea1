"""A listing for a shell: what an agent that does not mean well can make of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.portal.frames import DATA, GOAWAY, HEADERS, SETTINGS
from engine.portal.glance import _names, glance_directory
from engine.sockets import listen_unix
from guest.wire import portal_pb2 as wire
from guest.wire.constants import HELLO_MAGIC, NONCE_BYTES, PORTAL_PORTS, REPLY_MAGIC


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def listing(*names: tuple[bytes, int]) -> bytes:
    entries = [wire.FileEntry(path=name, stat=wire.FileStat(exists=True, mode=mode)) for name, mode in names]
    return wire.FileEntries(entries=entries).SerializeToString()


def answer(content: bytes) -> bytes:
    """The frames of an agent that sends these bytes of a listing in one message."""
    chunk = wire.DownloadChunk(data=content).SerializeToString()
    status = b"\x88"  # ":status: 200" of HPACK's static table
    return (
        frame(SETTINGS, 0, 0, b"")
        + frame(HEADERS, 4, 1, status)
        + frame(DATA, 1, 1, b"\0" + len(chunk).to_bytes(4, "big") + chunk)
    )


class Agent:
    """Listens where an agent would, greets as it does, and then says `says`."""

    def __init__(self, directory: Path) -> None:
        self.says = b""
        self._listener = listen_unix(directory / f"portal-{PORTAL_PORTS - 1}.sock")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        caller, _ = self._listener.accept()
        with caller:
            hello = caller.recv(len(HELLO_MAGIC) + NONCE_BYTES, socket.MSG_WAITALL)
            caller.sendall(REPLY_MAGIC + hello[-NONCE_BYTES:] + self.says)
            while caller.recv(1 << 16):
                pass

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.close()


def test_glance_reads_what_an_agent_says(agent: Agent, tmp_path: Path) -> None:
    agent.says = answer(listing((b"bin", 0o040755), (b"a b", 0o100644), (b"long" * 60, 0o120777)))
    found = glance_directory(str(tmp_path), b"/", patience_s=5)
    assert found == [(b"bin", True), (b"a b", False), (b"long" * 60, False)]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        frame(GOAWAY, 0, 0, bytes(4) + b"\xff\xff\xff\xff"),
        frame(DATA, 1, 1, b"\0\xff\xff\xff\xffless"),
        answer(b"\xff" * 40),
        b"",
    ],
    ids=["not HTTP/2", "an error that does not exist", "cut off", "no message", "nothing"],
)
def test_glance_at_an_agent_that_lies_finds_nothing(agent: Agent, tmp_path: Path, said: bytes) -> None:
    agent.says = said
    assert glance_directory(str(tmp_path), b"/", patience_s=0.5) == []


@given(some.binary(max_size=200))
def test_glance_at_any_bytes_ends(content: bytes) -> None:
    try:
        _names(content)
    except ValueError:
        return


def test_glance_at_an_agent_that_is_silent_ends(tmp_path: Path) -> None:
    listener = listen_unix(tmp_path / f"portal-{PORTAL_PORTS - 1}.sock")
    begun = time.monotonic()
    assert glance_directory(str(tmp_path), b"/", patience_s=0.2) == []
    assert time.monotonic() - begun < 5
    listener.close()
