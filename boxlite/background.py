"""The event loop behind the library's plain calls: one, in a thread of its own, for the whole program."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """The loop and its thread, started at the first call. A daemon: it keeps no program from ending."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget(self) -> None:
        """In a forked process, which has the loop, but not its thread."""
        self._lock = threading.Lock()
        self._loop = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the work; an interrupt of the waiting thread cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="boxlite-sync", daemon=True).start()
                threading.Thread(target=_close_at_exit, args=(self._loop,), name="boxlite-exit").start()
            return self._loop


def _close_at_exit(loop: asyncio.AbstractEventLoop) -> None:
    """Once the program's main thread has ended, end the boxes and threads that would keep the program from ending."""
    threading.main_thread().join()
    asyncio.run_coroutine_threadsafe(_end_everything(), loop).result()


async def _end_everything() -> None:
    """As `asyncio.run` ends a loop: first the tasks, then what they left open."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()


background = Background()
os.register_at_fork(after_in_child=background.forget)


def iterate(source: AsyncIterator[T]) -> Iterator[T]:
    async def following() -> T:
        return await anext(source)

    while True:
        try:
            yield background.run(following())
        except StopAsyncIteration:
            return
