"""Loading asyncio without OpenSSL, which it imports for connections that neither a command nor a shim makes with it: a hundredth of
a second of every command, three megabytes of every box. asyncio knows interpreters that were built without TLS."""

from __future__ import annotations

import sys
from types import ModuleType


def load_asyncio() -> None:
    """Import it so, for a program's first thing. Who imports `ssl` afterwards gets the real one."""
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


def do_without_tls() -> None:
    """The same, and for the whole life of this process: QEMU's monitor client too wants no more of `ssl` than a word in its
    annotations. Whoever asks for more is told by ImportError."""
    load_asyncio()
    stand_in = ModuleType("ssl")
    stand_in.__dict__["SSLContext"] = type("SSLContext", (), {})
    sys.modules["ssl"] = stand_in
