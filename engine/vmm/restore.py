"""Telling a machine to restore itself, before it listens.

What is to be said waits in a control channel of its own, so no answer is waited for between QEMU's start and the guest's
first instruction. QEMU takes one command at a time from a channel, in their order (QMP specification).
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from engine.errors import DeadlineError, EngineError

RESTORE_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 64 * 1024


def build_restore_script(state_path: str) -> bytes:
    """The commands that load the device state at `state_path` into a machine started with `-incoming defer`; it then runs.

    docs/devel/migration: the capability x-ignore-shared leaves shared memory out of the stream. The machine is not
    announced to the network five times, as one that has moved there would be (announce-rounds): its only neighbour is its
    own network process.
    """
    return b"".join(
        json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        for command, arguments in (
            ("qmp_capabilities", {}),
            (
                "migrate-set-capabilities",
                {"capabilities": [{"capability": "x-ignore-shared", "state": True}]},
            ),
            ("migrate-set-parameters", {"announce-rounds": 0}),
            ("migrate-incoming", {"uri": f"file:{state_path}"}),
        )
    )


async def wait_restored(channel: socket.socket) -> None:
    """Until the machine runs. Raises EngineError when QEMU refuses, DeadlineError when it does not come to that.

    Only then another control channel may be opened: an event that QEMU sends between taking a client's first command and
    answering it is taken for a wrong answer.
    """
    wanted, runs, pending = build_restore_script("").count(b"\n"), False, b""
    try:
        async with asyncio.timeout(RESTORE_TIMEOUT_S):
            while wanted or not runs:
                chunk = await asyncio.get_running_loop().sock_recv(channel, _MAX_ANSWER_BYTES)
                if not chunk:
                    raise EngineError("the machine ended before it was restored")
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    message = _parse(line)
                    wanted -= "return" in message
                    runs = runs or message.get("event") == "RESUME"
    except TimeoutError as error:
        raise DeadlineError(f"QEMU did not restore the machine within {RESTORE_TIMEOUT_S:g} s") from error


def _parse(line: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(line)
    if "error" in message:
        raise EngineError(f"the machine could not be restored: {message['error'].get('desc', '')}")
    return message
