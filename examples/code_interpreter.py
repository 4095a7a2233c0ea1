"""An interpreter that keeps its variables from one snippet to the next.

`CodeBox.run` starts a Python of its own for each call. A model that works in steps wants one that stays: this one is a
program that runs in the box and is talked to through its standard streams, a line of JSON each way.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Self

import boxlite

PYTHON = ("python3", "-u", "-c", """
import contextlib, io, json, sys, traceback
names = {}
for line in sys.stdin:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            exec(compile(json.loads(line), "<snippet>", "exec"), names)
        except BaseException:
            traceback.print_exc(limit=-1)
    sys.__stdout__.write(json.dumps(out.getvalue()) + chr(10))
""")  # fmt: skip
"""Reads a snippet, answers with what it printed."""


class Interpreter:
    """`async with Interpreter(box) as python: await python.run("x = 1")`. `command` reads and answers as PYTHON does."""

    def __init__(self, box: boxlite.SimpleBox, command: tuple[str, ...] = PYTHON) -> None:
        self._box = box
        self._command = command
        self._running: boxlite.Execution | None = None

    async def run(self, code: str, timeout: float = 30.0) -> str:
        """What the snippet printed, its traceback included. One that takes too long costs the variables: the interpreter
        is killed, TimeoutError raised, and the next snippet has a new one."""
        if self._running is None:
            program, *arguments = self._command
            self._running = await self._box.box.exec(program, arguments)
        try:
            async with asyncio.timeout(timeout):
                await self._running.stdin().send_input(json.dumps(code) + "\n")
                return str(json.loads(await anext(self._running.stdout())))
        except (TimeoutError, asyncio.CancelledError):
            await self.close()
            raise

    async def close(self) -> None:
        """Kill the interpreter. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            await running.kill()
            await running.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def main(image: str = "python:slim") -> None:
    async with boxlite.SimpleBox(image, memory_mib=512) as box, Interpreter(box) as python:
        await python.run("squares = [n * n for n in range(5)]")
        print(await python.run("print(squares, sum(squares))"), end="")
        print(await python.run("squares[9]"), end="")
        try:
            await python.run("while True: pass", timeout=2)
        except TimeoutError:
            print("stopped")
        print(await python.run("print('a new one')"), end="")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
