"""The caps of `--net-tx-kbps` and `--net-rx-kbps`: a token bucket for each direction, over all of a box's traffic."""

from __future__ import annotations

import asyncio
import sys
import time

BURST_S = 0.1
"""How much of the rate may go at once after a silence."""
MIN_BURST_BYTES = 16 * 1024


class TokenBucket:
    """Lets `kbps` thousand bits a second through; 0: everything."""

    def __init__(self, kbps: int) -> None:
        self._bytes_per_s = kbps * 125.0
        self._most = max(self._bytes_per_s * BURST_S, MIN_BURST_BYTES)
        self._tokens = self._most
        self._at = time.monotonic()

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._bytes_per_s)
        self._at = now

    async def take(self, count: int) -> None:
        """Wait until the bytes may go. They are counted at once, so that several who wait share the rate."""
        if not self._bytes_per_s:
            return
        self._refill()
        self._tokens -= count
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._bytes_per_s)

    def try_take(self, count: int) -> bool:
        if not self._bytes_per_s:
            return True
        self._refill()
        if self._tokens <= 0:
            return False
        self._tokens -= count  # a packet larger than what is left goes whole, and those after it wait longer
        return True

    @property
    def piece_bytes(self) -> int:
        """Streams go in pieces of at most this, so that the rate is even."""
        return int(self._most) if self._bytes_per_s else sys.maxsize


class Shaper:
    """Both directions, from the box's point of view."""

    def __init__(self, *, tx_kbps: int = 0, rx_kbps: int = 0) -> None:
        self._tx, self._rx = TokenBucket(tx_kbps), TokenBucket(rx_kbps)
        self.tx_piece_bytes, self.rx_piece_bytes = self._tx.piece_bytes, self._rx.piece_bytes

    async def sent(self, count: int) -> None:
        await self._tx.take(count)

    async def received(self, count: int) -> None:
        await self._rx.take(count)

    def may_send(self, count: int) -> bool:
        return self._tx.try_take(count)

    def may_receive(self, count: int) -> bool:
        return self._rx.try_take(count)
