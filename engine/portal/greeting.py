"""The first bytes on a port: a nonce that the agent echoes, so that nothing of an earlier client is taken for ours.

Imports next to nothing: what completes a path while somebody types begins here too.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from engine.errors import RpcTransportError
from guest.wire.constants import FLUSH_BYTES, HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC

if TYPE_CHECKING:
    import socket

HELLO_PATIENCE_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long each hello waits for its answer before the port is flushed and greeted again."""
MAX_STALE_BYTES = 64 * 1024 * 1024
"""How much an earlier client may have left behind. QEMU and the guest's kernel hold less than one; a guest that sends more
has nothing to say."""


def greet(
    port: socket.socket,
    magic: bytes = HELLO_MAGIC,
    ticket: bytes = b"",
    *,
    flush: bool = False,
) -> None:
    """Exchange the nonce, so that no byte of an earlier client is taken for ours, in either direction. Blocks. A lane has a
    magic of its own and a ticket behind the nonce. `flush`: an earlier client may have stopped in the middle of a frame.

    Raises RpcTransportError when the machine does not answer or goes away.
    """
    for attempt, wait_s in enumerate(HELLO_PATIENCE_S):
        nonce = os.urandom(NONCE_BYTES)  # a new one each time: late answers to earlier hellos are not for us
        answer = REPLY_MAGIC + nonce
        deadline = time.monotonic() + wait_s
        port.settimeout(wait_s)
        try:
            port.sendall((bytes(FLUSH_BYTES) if attempt or flush else b"") + magic + nonce + ticket)
            _await_answer(port, answer, deadline)
        except TimeoutError:
            continue
        except OSError as error:
            raise RpcTransportError(f"the machine cannot be reached: {error.strerror}") from error
        port.settimeout(None)
        return
    raise RpcTransportError(
        f"the machine's agent did not answer within {sum(HELLO_PATIENCE_S):g} s",
        hint="`boxlite logs --console BOX` shows what the machine printed; a box that another version of boxlite started "
        "answers once it was restarted: boxlite restart BOX",
    )


def _await_answer(port: socket.socket, answer: bytes, deadline: float) -> None:
    """Read up to the end of `answer` and not a byte further: what follows belongs to HTTP/2.

    Raises TimeoutError at the deadline, however busily the machine sends something else.
    """
    window = b""
    stale_bytes = 0
    while answer not in window:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        port.settimeout(left_s)
        chunk = port.recv(len(answer) if not window else _missing(window, answer))
        if not chunk:
            raise RpcTransportError("the machine closed the connection")
        stale_bytes += len(chunk)
        if stale_bytes > MAX_STALE_BYTES:
            raise RpcTransportError("the machine sends without end and does not answer")
        window = (window + chunk)[-len(answer) :]


def _missing(window: bytes, answer: bytes) -> int:
    """How many bytes can be read without going past the end of the answer, given what has come so far."""
    for length in range(len(answer) - 1, 0, -1):
        if window.endswith(answer[:length]):
            return len(answer) - length
    return len(answer)
