"""Telling a machine to restore itself, before it listens.

What is to be said waits in a control channel of its own, so no answer is waited for between QEMU's start and the guest's
first instruction. QEMU takes one command at a time from a channel, in their order (QMP specification).
"""

from __future__ import annotations

import asyncio
import json
import socket

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


async def wait_restore_accepted(channel: socket.socket) -> None:
    """Until QEMU has begun to restore. Raises EngineError when it refuses, DeadlineError when it does not answer."""
    wanted, pending = build_restore_script("").count(b"\n"), b""
    try:
        async with asyncio.timeout(RESTORE_TIMEOUT_S):
            while wanted:
                chunk = await asyncio.get_running_loop().sock_recv(channel, _MAX_ANSWER_BYTES)
                if not chunk:
                    raise EngineError("the machine ended before it was restored")
                *lines, pending = (pending + chunk).split(b"\n")
                wanted -= sum(_is_answer(line) for line in lines)
    except TimeoutError as error:
        raise DeadlineError(f"QEMU did not restore the machine within {RESTORE_TIMEOUT_S:g} s") from error


def _is_answer(line: bytes) -> bool:
    message = json.loads(line)
    if "error" in message:
        raise EngineError(f"the machine could not be restored: {message['error'].get('desc', '')}")
    return "return" in message
