"""gRPC and fork(2) do not go together: a child has the state of its threads and none of the threads, and would wait for them
for ever (grpc, doc/fork_support.md: the asyncio API is not supported)."""

from __future__ import annotations

import gc
import os

from engine.errors import UnsupportedError

_pids: list[int] = []
"""The process that uses gRPC, once one does."""


def _keep_what_was_forked() -> None:
    """Never collect what the process before had: taking gRPC's part of it down waits for a thread that is not here."""
    if _pids:
        gc.freeze()


os.register_at_fork(after_in_child=_keep_what_was_forked)


def claim_grpc() -> None:
    """To be called before gRPC is used. Raises UnsupportedError in a process forked from one that used it already."""
    if not _pids:
        _pids.append(os.getpid())
    elif _pids[0] != os.getpid():
        raise UnsupportedError(
            "this process was forked from one that had a box open, and cannot open one itself",
            hint='start workers with multiprocessing.get_context("spawn"), or fork before the first box is used',
        )
