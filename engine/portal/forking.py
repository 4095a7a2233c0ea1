"""gRPC and fork(2) do not go together: a child has the state of its threads and none of the threads, and would wait for them
for ever (grpc, doc/fork_support.md: the asyncio API is not supported)."""

from __future__ import annotations

import os

from engine.errors import UnsupportedError

_pids: list[int] = []
"""The process that uses gRPC, once one does."""


def claim_grpc() -> None:
    """To be called before gRPC is used. Raises UnsupportedError in a process forked from one that used it already."""
    if not _pids:
        _pids.append(os.getpid())
    elif _pids[0] != os.getpid():
        raise UnsupportedError(
            "this process was forked from one that had a box open, and cannot open one itself",
            hint='start workers with multiprocessing.get_context("spawn"), or fork before the first box is used',
        )
