"""What a lying guest says on the channels that are not the portal: console, events, output, QMP."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

from guest.wire.constants import OUTPUT_HEADER
from tests.framework.hostile_messages import random_bytes

FLOOD_BYTES = 96 << 20
"""What a flood sends at most: far more than any buffer of the host may take."""


async def flood(dice: random.Random, writer: asyncio.StreamWriter, piece: bytes = b"") -> None:
    piece = piece or random_bytes(dice, 70000) or b"x"
    piece *= max(1, 65536 // len(piece))
    for _ in range(FLOOD_BYTES // len(piece)):
        writer.write(piece)
        await writer.drain()


async def drink(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _events(dice: random.Random) -> bytes:
    value: Any = dice.choice((0, -1, 2**63, True, None, "x", 1e308, [1], {}, "\x1b[2J"))
    event = {
        "event": dice.choice(("exit", "halted", "ready", "activity", "names", 7, "\n", "")),
        "exit_code": value, "oom_killed": value, "number": value, "names": value, "end": value,
    }  # fmt: skip
    lines = (json.dumps(event).encode(), b"[" * 4000, b'{"event":' * 400, b"9" * 4095, random_bytes(dice, 5000), b"\x00",
             b'{"event": "exit", "exit_code": NaN}', b'"event"', b"{}")  # fmt: skip
    return dice.choice(lines) + b"\n" * dice.randrange(3)


def _output(dice: random.Random) -> bytes:
    data = random_bytes(dice, 3000)
    length = len(data) if dice.random() < 0.8 else dice.getrandbits(32)
    return OUTPUT_HEADER.pack(dice.choice((1, 2, 1, 2, 1, 2, 0, 255)), length) + data


def _console(dice: random.Random) -> bytes:
    return dice.choice((b"\x1b]52;c;", b"\x9b2J", b"panic\r\n", b"\xff\xfe")) + random_bytes(dice, 200)


def _qmp(dice: random.Random) -> bytes:
    greeting = b'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}'
    lines = (greeting, greeting, b'{"return": {}, "id": "__boxlite#00000"}', b'{"return": [1, "x", null]}',
             b'{"event": "BLOCK_IO_ERROR", "data": 7, "timestamp": {"seconds": 1, "microseconds": 2}}',
             b'{"error": {"class": "GenericError", "desc": "\x1b[2J"}, "id": "__boxlite#00001"}', b"[" * 5000,
             b'{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}' , random_bytes(dice, 2000),
             b'"' + b"x" * dice.choice((10, 600000)), b"null", b"9" * 5000)  # fmt: skip
    return dice.choice(lines) + b"\r\n"


SPEAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "events": _events, "output": _output, "console": _console, "qmp": _qmp,
}  # fmt: skip
