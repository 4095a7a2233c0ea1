"""Looking into a running box: what it uses, and what runs in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from engine import host
from engine.errors import PortalError
from engine.metrics import BoxMetrics
from engine.model import BoxRecord, utc_now
from engine.portal.failures import translated
from engine.portal.session import GuestSession
from engine.runtime.context import Context
from engine.runtime.restrictions import is_restricted
from engine.runtime.running import session_with
from guest.wire import portal_pb2 as wire

ANSWER_TIMEOUT_S = 10.0


async def box_metrics(context: Context, record: BoxRecord) -> BoxMetrics:
    """One look. Raises InvalidStateError when the box does not run."""
    async with session_with(context, record, "stats") as session:
        return await _look(context, session, record)


async def watch_metrics(context: Context, record: BoxRecord, interval_s: float) -> AsyncIterator[BoxMetrics]:
    """A look every `interval_s` seconds over one connection, until the box does not run any more."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(PortalError):
        async with session_with(context, record, "stats") as session:
            due = loop.time()
            while True:
                yield await _look(context, session, record)
                due = max(due + interval_s, loop.time())
                await asyncio.sleep(due - loop.time())


async def _look(context: Context, session: GuestSession, record: BoxRecord) -> BoxMetrics:
    with translated("stats"):
        reply = await session.metrics(wire.MetricsRequest(), timeout=ANSWER_TIMEOUT_S)
    pids = await asyncio.to_thread(host.process_tree, record.state.pid or 0)
    metrics = BoxMetrics(
        taken_at=utc_now(),
        cpu_usage_us=reply.cpu_usage_us,
        memory_bytes=reply.memory_bytes,
        memory_limit_bytes=reply.memory_limit_bytes,
        pids=reply.pids,
        network_bytes_received=reply.net_rx_bytes,
        network_bytes_sent=reply.net_tx_bytes,
        network_tcp_connections=reply.tcp_connections,
        network_tcp_errors=reply.tcp_errors,
        block_read_bytes=reply.block_read_bytes,
        block_write_bytes=reply.block_write_bytes,
        disk_used_bytes=reply.disk_used_bytes,
        disk_size_bytes=reply.disk_size_bytes,
        host_cpu_us=host.cpu_time_us(pids),
        host_memory_bytes=await asyncio.to_thread(host.memory_bytes, pids),
    )
    return await _as_the_gateway_counts(context, record, metrics) if is_restricted(record.spec) else metrics


async def _as_the_gateway_counts(context: Context, record: BoxRecord, metrics: BoxMetrics) -> BoxMetrics:
    """A restricted machine has no network device to count at; its gateway counts better anyway."""
    from engine.runtime.network import network_counts

    counts: Any = await network_counts(context, record)
    return replace(
        metrics,
        network_bytes_received=counts["bytes_received"],
        network_bytes_sent=counts["bytes_sent"],
        network_tcp_connections=counts["open_connections"],
        network_tcp_errors=counts["failed"],
        network_by_host=counts["by_host"],
    )
