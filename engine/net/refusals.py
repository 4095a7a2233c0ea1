"""How a refusal is said in the protocol of the one who is refused, at once."""

from __future__ import annotations

import asyncio
import contextlib

from engine.net.hello import Speech
from engine.net.mux import StreamChannel
from engine.net.policy import Decision
from guest.wire.flows import Reason

LINGER_S = 5.0
"""How long a program has to read its refusal before the connection is reset."""

_TLS_ALERT = bytes((21, 3, 3, 0, 2, 2, 49))
"""A fatal alert "access denied" (RFC 8446, section 6.2)."""


async def refuse(channel: StreamChannel, speech: Speech, decision: Decision, target: str) -> None:
    """End a connection, with an answer where its protocol has one."""
    match speech:
        case Speech.HTTP:
            answer = _http_refusal(explain(decision, target))
        case Speech.TLS:
            answer = _TLS_ALERT
        case Speech.OTHER:
            channel.reset(Reason.DENIED)
            return
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER_S):
            await channel.write(answer)
            await channel.write_eof()
            while await channel.read():
                pass
    channel.reset(Reason.DENIED)


def explain(decision: Decision, target: str) -> str:
    """One line that says what was refused, why, and what would allow it."""
    line = f"boxlite: {target} is denied: {decision.reason}"
    return f"{line}; to allow it: {decision.remedy}" if decision.remedy else line


def _http_refusal(line: str) -> bytes:
    body = f"{line}\n".encode()
    head = (
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
        f"X-Boxlite-Denied: {line.removeprefix('boxlite: ')}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1", "replace") + body
