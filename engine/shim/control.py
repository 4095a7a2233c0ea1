"""What other processes may ask a running box's shim, over its socket: one JSON line, one JSON answer.

{"op": "stop", "signal": 15, "grace_s": 10, "reason": "…"}    → {"ok": true} at once; the end shows in the database
{"op": "signal", "signal": 10}
{"op": "pause"} {"op": "resume"}                               → {"ok": true} once the box's row says so
{"op": "network"}                                              → what a restricted box sent and received
{"op": "names", "directory": "/etc", "beginning": "ho"}        → {"ok": true, "names": ["hostname", …]}, see `glances`
{"op": "change", "plan": {…}}                                  what `boxlite update` changed, see `changes_of_plan`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from engine.errors import BoxliteError, InvalidArgumentError, RpcTransportError
from engine.layout import BoxLayout
from engine.model import RestartKind, RestartPolicy
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
            answer = {"error": error.message, "code": error.code, "hint": error.hint}
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
                await supervisor.pause()
            case {"op": "resume"}:
                await supervisor.resume()
            case {"op": "network"}:
                return {"ok": True, "network": await supervisor.run.network_counts()}
            case {"op": "names", "directory": str(directory), "beginning": str(beginning)}:
                return {"ok": True, "names": await supervisor.run.glances.names(directory, beginning)}
            case {"op": "change", "plan": dict(fields)}:
                supervisor.change_plan(changes_of_plan(fields))
            case _:
                raise InvalidArgumentError(f"unknown order {order.get('op')!r}")
        return {"ok": True}


def changes_of_plan(fields: dict[str, object]) -> dict[str, Any]:
    """The fields of a LaunchPlan that may change while it is carried out, from their JSON. Raises InvalidArgumentError."""
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        match name, value:
            case "timeout_s" | "auto_stop_s" | "auto_delete_s" | "stop_timeout_s", int() | float():
                changes[name] = float(value)
            case "stop_signal", int():
                changes[name] = value
            case "restart", {"kind": str(kind), "max_retries": int(retries)}:
                changes[name] = RestartPolicy(kind=RestartKind(kind), max_retries=retries)
            case _:
                raise InvalidArgumentError(f"{name} of a running box cannot be changed")
    return changes


async def ask_shim(box: BoxLayout, order: dict[str, object]) -> dict[str, object]:
    """Send one order to the shim of a running box. Raises RpcTransportError when it is not there, and what the shim
    says when it refuses."""
    try:
        stream = connect_unix(box.shim_socket, timeout_s=ANSWER_TIMEOUT_S)
    except OSError as error:
        raise RpcTransportError(f"the box's shim cannot be reached: {error.strerror}") from error
    with contextlib.closing(stream):
        answer = await asyncio.to_thread(_exchange, stream, json.dumps(order).encode() + b"\n")
    if "error" in answer:
        from engine.portal.failures import error_class

        hint = answer.get("hint")
        raise error_class(str(answer.get("code")))(str(answer["error"]), hint=str(hint) if hint else None)
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
        answer = json.loads(received or b'{"error": "the box has just ended", "code": "stopped"}')
    except (OSError, ValueError) as error:
        raise RpcTransportError(f"the box's shim did not answer: {error}") from error
    return answer if isinstance(answer, dict) else {}
