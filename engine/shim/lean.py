"""Keeping out of a shim what it never uses: OpenSSL, which asyncio and QEMU's monitor client import for connections that a shim
does not make. It would cost every box three megabytes."""

from __future__ import annotations

import sys
from types import ModuleType


def do_without_tls() -> None:
    """For this process, and before anything has imported `ssl`: asyncio comes without it, as in interpreters that were built
    so, and whoever else asks for more than the name of a context is told by ImportError."""
    sys.modules["ssl"] = None  # type: ignore[assignment]
    import asyncio  # noqa: F401

    stand_in = ModuleType("ssl")
    stand_in.__dict__["SSLContext"] = type("SSLContext", (), {})  # a word in the client's annotations
    sys.modules["ssl"] = stand_in
