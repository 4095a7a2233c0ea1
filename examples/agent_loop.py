"""An agent: a model asks for tools, a box does what it asks, until there is an answer.

The model here is a script, so that the program runs without a key; put your model's client in its place. The box has no
network and ends with the program, whatever the model asks for.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools import BoxTools, Schema, as_functions

import boxlite

MAX_TURNS = 10


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model asks for; `arguments` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A model's turn: calls to be made, or, without any, its answer."""

    text: str = ""
    calls: Sequence[ToolCall] = ()


class ScriptedModel:
    """Plays a model that writes a program, sees it fail, corrects it and tells the result."""

    def __init__(self) -> None:
        self._turns = self._script()
        self._heard: list[str] = []

    async def reply(self, messages: Sequence[str], tools: Sequence[Schema]) -> Turn:
        assert tools, "a model must be told which tools there are"
        self._heard = list(messages)
        return next(self._turns)

    def _script(self) -> Iterator[Turn]:
        def call(name: str, **arguments: str) -> Turn:
            return Turn(calls=[ToolCall(name, json.dumps(arguments))])

        yield call("write_file", path="/job/sum.sh", text="echo $((1 + 2 + 3\n")
        yield call("run_shell", command="sh /job/sum.sh")
        assert "[exit status 2]" in self._heard[-1]
        yield call("write_file", path="/job/sum.sh", text="echo $((1 + 2 + 3))\n")
        yield call("run_shell", command="sh /job/sum.sh")
        yield Turn(text=f"The sum is {self._heard[-1].split()[0]}.")


async def run_agent(task: str, model: ScriptedModel, tools: BoxTools) -> str:
    """Ask and do until the model calls nothing more. Raises RuntimeError when it goes on for too long."""
    messages = [task]
    for _ in range(MAX_TURNS):
        turn = await model.reply(messages, as_functions(tools))
        if not turn.calls:
            return turn.text
        results = await asyncio.gather(*(tools.call(call.name, call.arguments) for call in turn.calls))
        for call, result in zip(turn.calls, results, strict=True):
            print(f"{call.name} {call.arguments}\n    {result}".replace("\n", "\n    "))
        messages += results
    raise RuntimeError(f"no answer after {MAX_TURNS} turns")


async def main(image: str = "alpine:3.20") -> None:
    async with boxlite.SimpleBox(
        image,
        memory_mib=512,
        network=boxlite.NetworkSpec(mode="disabled"),
        security=boxlite.SecurityOptions.maximum(),
    ) as box:
        await box.box.mkdir("/job", exist_ok=True)
        print(await run_agent("What is 1 + 2 + 3?", ScriptedModel(), BoxTools(box, timeout=30)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
