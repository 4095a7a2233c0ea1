"""A connection to a machine: one of its ports, taken under a lock, greeted with a nonce, carried to grpcio.

grpcio can only connect to an address, so the greeted socket is relayed from a one-shot listening socket of this
process. A port serves one client at a time; QEMU drops the guest's side when we close ours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import sys
import tempfile
import threading
import time

from engine.errors import RpcTransportError
from engine.portal.frames import FrameGuard
from guest.wire.constants import FLUSH_BYTES, HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC

RELAY_CHUNK_BYTES = 256 * 1024
HELLO_PATIENCE_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long each hello waits for its answer before the port is flushed and greeted again."""
MAX_STALE_BYTES = 64 * 1024 * 1024
"""How much an earlier client may have left behind. QEMU and the guest's kernel hold less than one; a guest that sends more
has nothing to say."""


def greet(
    port: socket.socket, magic: bytes = HELLO_MAGIC, ticket: bytes = b"", *, flush: bool = False
) -> None:
    """Exchange the nonce, so that no byte of an earlier client is taken for ours, in either direction. Blocks. A lane has a
    magic of its own and a ticket behind the nonce. `flush`: an earlier client may have stopped in the middle of a frame.

    Raises RpcTransportError when the machine does not answer or goes away.
    """
    for attempt, patience_s in enumerate(HELLO_PATIENCE_S):
        nonce = secrets.token_bytes(
            NONCE_BYTES
        )  # a new one each time: late answers to earlier hellos are not for us
        answer = REPLY_MAGIC + nonce
        deadline = time.monotonic() + patience_s
        port.settimeout(patience_s)
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


class Relay:
    """Carries one greeted port to an address grpcio can connect to. `closed` is set when the machine's side ends."""

    def __init__(self, port: socket.socket) -> None:
        self._port = port
        self._listener, self.target, self._directory = _one_shot_listener()
        self._client: socket.socket | None = None
        self._closing = False
        threading.Thread(target=self._serve, name="portal-relay", daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            self._listener.close()
            if not _is_own_process(client) or self._closing:
                client.close()
                return
            self._client = client
            threading.Thread(target=_pump, args=(client, self._port), name="portal-send", daemon=True).start()
            _pump(self._port, client, FrameGuard())

    def close(self) -> None:
        self._closing = True
        for end in (self._listener, self._client, self._port):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        if self._directory is not None:
            self._directory.cleanup()


def _one_shot_listener() -> tuple[socket.socket, str, tempfile.TemporaryDirectory[str] | None]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux":
        name = f"boxlite-{os.getpid()}-{secrets.token_hex(8)}"
        listener.bind(f"\0{name}")
        listener.listen(1)
        return listener, f"unix-abstract:{name}", None
    directory = tempfile.TemporaryDirectory(prefix="bl-", dir="/tmp")
    listener.bind(f"{directory.name}/s")
    listener.listen(1)
    return listener, f"unix:{directory.name}/s", directory


def _is_own_process(client: socket.socket) -> bool:
    """An abstract address can be reached by anybody on this host: only we may use it (SO_PEERCRED, unix(7))."""
    if sys.platform != "linux":
        return True
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[0] == os.getpid())


def _pump(source: socket.socket, sink: socket.socket, guard: FrameGuard | None = None) -> None:
    """Copy until either side ends, or `guard` refuses what comes; then end both."""
    buffer = bytearray(RELAY_CHUNK_BYTES)
    view = memoryview(buffer)
    with contextlib.suppress(OSError, RpcTransportError):
        while size := source.recv_into(buffer):
            if guard is not None:
                guard.check(view[:size])
            sink.sendall(view[:size])
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
