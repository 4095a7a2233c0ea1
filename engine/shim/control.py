"""What other processes may ask a running box's shim, over its socket: one JSON line, one JSON answer.

{"op": "stop", "signal": 15, "grace_s": 10, "reason": "…"}    → {"ok": true} at once; the end shows in the database
{"op": "signal", "signal": 10}
{"op": "pause"} {"op": "resume"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING

from engine.errors import BoxliteError, InvalidArgumentError, RpcTransportError
from engine.layout import BoxLayout
from engine.sockets import connect_unix, listen_unix

if TYPE_CHECKING:
    from engine.shim.supervisor import Supervisor

MAX_LINE_BYTES = 65536
ANSWER_TIMEOUT_S = 10.0


class ControlServer:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def serve(self) -> None:
        listener = listen_unix(self._supervisor.box.shim_socket)
        server = await asyncio.start_unix_server(self._answer, sock=listener, limit=MAX_LINE_BYTES)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = json.loads(await reader.readline())
            answer = await self._obey(order)
        except BoxliteError as error:
            answer = {"error": error.message}
        except (ValueError, KeyError, TypeError) as error:
            answer = {"error": f"not an order: {error!r}"}
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _obey(self, order: dict[str, object]) -> dict[str, object]:
        supervisor = self._supervisor
        match order:
            case {
                "op": "stop",
                "signal": int(signum),
                "grace_s": int() | float() as grace,
                "reason": str(reason),
            }:
                supervisor.begin_stop(reason, signum=signum or None, grace_s=float(grace))
            case {"op": "signal", "signal": int(signum)}:
                supervisor.run.tell_agent({"op": "signal", "signal": signum})
            case {"op": "pause"}:
                await self._monitor("stop")
            case {"op": "resume"}:
                await self._monitor("cont")
            case _:
                raise InvalidArgumentError(f"unknown order {order.get('op')!r}")
        return {"ok": True}

    async def _monitor(self, command: str) -> None:
        await self._supervisor.run.monitor_command(command)


async def ask_shim(box: BoxLayout, order: dict[str, object]) -> dict[str, object]:
    """Send one order to the shim of a running box. Raises RpcTransportError when it is not there."""
    try:
        stream = connect_unix(box.shim_socket, timeout_s=ANSWER_TIMEOUT_S)
    except OSError as error:
        raise RpcTransportError(f"the box's shim cannot be reached: {error.strerror}") from error
    with contextlib.closing(stream):
        answer = await asyncio.to_thread(_exchange, stream, json.dumps(order).encode() + b"\n")
    if "error" in answer:
        raise RpcTransportError(f"the box's shim refused: {answer['error']}")
    return answer


def _exchange(stream: socket.socket, line: bytes) -> dict[str, object]:
    try:
        stream.sendall(line)
        received = b""
        while not received.endswith(b"\n"):
            chunk = stream.recv(MAX_LINE_BYTES)
            if not chunk:
                break
            received += chunk
        answer = json.loads(received or b'{"error": "it ended"}')
    except (OSError, ValueError) as error:
        raise RpcTransportError(f"the box's shim did not answer: {error}") from error
    return answer if isinstance(answer, dict) else {}
