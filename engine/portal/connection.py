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

from engine.errors import RpcTransportError
from engine.portal.frames import FrameGuard

RELAY_CHUNK_BYTES = 256 * 1024


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
