"""A listing for a shell: what whoever answers at the shim's socket can make of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.portal.glance import glance_directory
from engine.sockets import listen_unix


class Answerer:
    """Listens where a shim would, notes what it is asked, and says `says`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.says = b""
        self.asked = b""
        self._listener = listen_unix(path)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        caller, _ = self._listener.accept()
        with caller:
            self.asked = caller.recv(1 << 16)
            caller.sendall(self.says)

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def answerer(tmp_path: Path) -> Iterator[Answerer]:
    answerer = Answerer(tmp_path / "shim.sock")
    yield answerer
    answerer.close()


def test_glance_asks_for_a_beginning_and_reads_the_names(answerer: Answerer) -> None:
    answerer.says = b'{"ok": true, "names": ["bin/", "a b", "\\udcff"]}\n'
    assert glance_directory(answerer.path, "/x/", "b", patience_s=5) == ["bin/", "a b", "\udcff"]
    assert json.loads(answerer.asked) == {"op": "names", "directory": "/x/", "beginning": "b"}


@pytest.mark.parametrize(
    "said",
    [b"", b"\n", b"HTTP/1.1 200 OK\r\n\r\n", b"[1]\n", b'{"ok": true}\n', b'{"names": {"a": 1}}\n', b'{"error": "no"}\n'],
    ids=["nothing", "empty", "not JSON", "no object", "no names", "no list", "a refusal"],
)  # fmt: skip
def test_glance_at_an_answer_without_names_finds_nothing(answerer: Answerer, said: bytes) -> None:
    answerer.says = said
    assert glance_directory(answerer.path, "/", "", patience_s=5) == []


def test_glance_leaves_out_what_is_no_name(answerer: Answerer) -> None:
    answerer.says = b'{"names": [1, null, ["x"], "right"]}\n'
    assert glance_directory(answerer.path, "/", "", patience_s=5) == ["right"]


def test_glance_where_nobody_answers_ends(tmp_path: Path) -> None:
    begun = time.monotonic()
    listener = listen_unix(tmp_path / "shim.sock")
    assert glance_directory(str(tmp_path / "shim.sock"), "/", "", patience_s=0.2) == []
    listener.close()
    assert glance_directory(str(tmp_path / "shim.sock"), "/", "", patience_s=5) == []
    assert time.monotonic() - begun < 5
