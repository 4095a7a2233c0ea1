"""What is done to a box's files, where the box may come to its end meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from engine.errors import NotFoundError, RpcTransportError, StoppedError
from engine.model import BoxRecord, BoxStatus
from engine.runtime.context import Context
from engine.runtime.copy_rules import CopyOptions
from engine.runtime.records import get_box
from engine.runtime.stopping import wait_inactive

ENDING_PATIENCE_S = 3.0
"""For a box that has lost its machine to be on record as stopped."""


async def outliving(
    context: Context,
    refs: Sequence[str],
    copy: Callable[[], Coroutine[Any, Any, None]],
    *,
    options: CopyOptions,
    may_repeat: Callable[[], bool] = lambda: True,
) -> None:
    """Copy, and if one of the boxes came to its end meanwhile, copy once more from the beginning: a copy needs no command that
    runs. Not where what the first one left behind would be in the way of the second."""
    before = [await get_box(context, ref) for ref in refs]
    try:
        await copy()
    except (RpcTransportError, StoppedError):
        if not options.overwrite or not may_repeat() or not await _has_one_ended(context, before):
            raise
        await copy()


async def _has_one_ended(context: Context, before: Sequence[BoxRecord]) -> bool:
    """Has one of those that ran come to its end? It may still be writing its disk back."""
    for record in before:
        if record.status.is_active:
            with contextlib.suppress(NotFoundError, TimeoutError):
                async with asyncio.timeout(ENDING_PATIENCE_S):
                    if (await wait_inactive(context, record)).status is BoxStatus.STOPPED:
                        return True
    return False
