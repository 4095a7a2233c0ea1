"""TLS over a flow, on either side of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from engine.net.flow import CHUNK_BYTES, Flow

SERVER_TIMEOUT_S = 20.0
BOX_TIMEOUT_S = 120.0
"""How long a handshake may take. A box under software emulation is slow, and may be paused in the middle of it."""


class TlsFlow(Flow):
    """The plain text of a flow that carries TLS. Made by `start_tls`."""

    def __init__(
        self, flow: Flow, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        super().__init__()
        self._flow = flow
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = asyncio.Lock()
        self._ended = False

    @property
    def protocol(self) -> str | None:
        """The application protocol that was agreed on (ALPN)."""
        return self._tls.selected_alpn_protocol()

    async def handshake(self) -> None:
        """Raises ssl.SSLError, ConnectionError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert
                raise
            else:
                await self._flush()
                return

    async def _read(self, max_bytes: int) -> bytes:
        while True:
            data = self._decrypted(max_bytes)
            if self._outgoing.pending:
                await self._flush()
            if data is not None:
                return data
            await self._receive()

    def _decrypted(self, max_bytes: int) -> bytes | None:
        """What is there, up to `max_bytes`; b"" at the end, None when more has to be received. One call of OpenSSL gives at
        most one record."""
        chunks: list[bytes] = []
        size = 0
        while size < max_bytes and not self._ended:
            try:
                chunk = self._tls.read(max_bytes - size)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self._ended = True  # many servers just close the connection
                break
            except ssl.SSLError as error:
                raise ConnectionError(f"TLS: {reason_of(error)}") from error
            if not chunk:
                self._ended = True
                break
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks) if chunks or self._ended else None

    async def write(self, data: bytes) -> None:
        for offset in range(0, len(data), CHUNK_BYTES):
            try:
                self._tls.write(data[offset : offset + CHUNK_BYTES])
            except ssl.SSLError as error:
                raise ConnectionError(f"TLS: {reason_of(error)}") from error
            await self._flush()

    async def write_eof(self) -> None:
        """Say that nothing more comes (close_notify); the other direction goes on."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    def close(self) -> None:
        self._flow.close()

    def abort(self) -> None:
        self._flow.abort()

    async def _receive(self) -> None:
        data = await self._flow.read()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        async with self._sending:
            while data := self._outgoing.read():
                await self._flow.write(data)


async def start_tls(
    flow: Flow, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
) -> TlsFlow:
    """Do the handshake over a flow. Raises ssl.SSLError (also SSLCertVerificationError), ConnectionError, TimeoutError."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_name)
    secured = TlsFlow(flow, tls, incoming, outgoing)
    async with asyncio.timeout(BOX_TIMEOUT_S if server_side else SERVER_TIMEOUT_S):
        await secured.handshake()
    return secured


def reason_of(error: ssl.SSLError) -> str:
    """What went wrong, in words, without OpenSSL's numbers and file names."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_message:
        return error.verify_message
    return (error.reason or str(error)).replace("_", " ").lower()
