"""Nothing is fetched that nobody asked for: what the program does by itself opens no connection beyond this host's own files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.process import find_program

ROOT = Path(__file__).parents[2]
MODULES = (
    "boxlite",
    "boxlite_cli.app",
    "engine.runtime.runtime",
    "engine.shim.supervisor",
    "engine.portal.session",
)
QUESTIONS = (("--version",), ("--help",), ("ls", "-a"), ("images",), ("info",), ("inspect", "nothing"))
INTERNET = re.compile(rb"\b(connect|sendto|sendmsg)\(.*sa_family=AF_INET")


def _calls(tmp_path: Path, *argv: str) -> bytes:
    """The network calls of a program and all its children."""
    strace = find_program("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    subprocess.run(
        (strace, "-f", "-qq", "-e", "trace=network", "-o", str(trace), *argv), cwd=ROOT, capture_output=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT), "BOXLITE_HOME": str(tmp_path / "home")},
        timeout=120, check=False,
    )  # fmt: skip
    return trace.read_bytes()


def test_import_opens_no_connection(tmp_path: Path) -> None:
    code = f"import {', '.join(MODULES)}, grpc, aiosqlite, oras.client"
    assert INTERNET.findall(_calls(tmp_path, sys.executable, "-c", code)) == []


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_command_that_needs_no_registry_opens_no_connection(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert INTERNET.findall(_calls(tmp_path, sys.executable, "-m", "boxlite_cli", *words)) == []
