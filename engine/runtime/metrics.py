"""Looking into a running box: what it uses, and what runs in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from engine import host
from engine.errors import InvalidStateError, PortalError
from engine.metrics import BoxMetrics, BoxSession
from engine.model import BoxRecord, BoxStatus, utc_now
from engine.portal.execution import exit_status
from engine.portal.failures import translated
from engine.portal.session import GuestSession
from engine.runtime.context import Context
from engine.runtime.running import session_with
from engine.shown import printable
from guest.wire import portal_pb2 as wire

ANSWER_TIMEOUT_S = 10.0


async def box_metrics(context: Context, record: BoxRecord) -> BoxMetrics:
    """One look. Raises InvalidStateError when the box does not run."""
    async with session_with(context, record, "stats") as session:
        return await _look(session, record)


async def watch_metrics(context: Context, record: BoxRecord, interval_s: float) -> AsyncIterator[BoxMetrics]:
    """A look every `interval_s` seconds over one connection, until the box does not run any more."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(PortalError):
        async with session_with(context, record, "stats") as session:
            due = loop.time()
            while True:
                yield await _look(session, record)
                due = max(due + interval_s, loop.time())
                await asyncio.sleep(due - loop.time())


async def _look(session: GuestSession, record: BoxRecord) -> BoxMetrics:
    with translated("stats"):
        reply = await session.metrics(wire.MetricsRequest(), timeout=ANSWER_TIMEOUT_S)
    pids = await asyncio.to_thread(host.process_tree, record.state.pid or 0)
    return BoxMetrics(
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


async def box_sessions(context: Context, record: BoxRecord) -> list[BoxSession]:
    """The commands in a box, the main one first, then in the order they were started; those that ended are listed for a
    while."""
    if record.status is BoxStatus.STOPPING:
        raise InvalidStateError("it is stopping", box=record.name, operation="top")
    async with session_with(context, record, "top") as session:
        with translated("top"):
            reply = await session.list(wire.ListRequest(), timeout=ANSWER_TIMEOUT_S)
    return [_session(found) for found in reply.sessions]


def _session(found: wire.Session) -> BoxSession:
    return BoxSession(
        id=printable(found.execution_id),
        argv=tuple(printable(word) for word in found.argv),
        tty=found.tty,
        attached=found.attached,
        processes=found.processes,
        started_at=datetime.fromtimestamp(found.started_ns / 1e9, UTC) if found.started_ns else None,
        exit_code=None if found.running else exit_status(found.status).exit_code,
    )
