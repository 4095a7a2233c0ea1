"""The commands an agent knows of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError, NotFoundError
from engine.metrics import BoxSession
from engine.portal.execution import exit_status
from engine.portal.failures import translated
from engine.shown import printable
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession

ANSWER_TIMEOUT_S = 10.0


async def list_sessions(session: GuestSession) -> list[BoxSession]:
    """The main one first, then in the order they were started; those that ended are listed for a while."""
    with translated("top"):
        reply = await session.list(wire.ListRequest(), timeout=ANSWER_TIMEOUT_S)
    return [_session(found) for found in reply.sessions]


async def get_session(session: GuestSession, ref: str) -> BoxSession:
    """The command with an id, or whose id alone begins so. Raises NotFoundError, InvalidArgumentError."""
    found = [one for one in await list_sessions(session) if one.id.startswith(ref)]
    found = [one for one in found if one.id == ref] or found
    if not found:
        raise NotFoundError(
            f"there is no command {printable(ref)} in it", hint="`boxlite top -a BOX` shows them all"
        )
    if len(found) > 1:
        raise InvalidArgumentError(f"{len(found)} commands have ids that begin with {printable(ref)}")
    return found[0]


def _session(found: wire.Session) -> BoxSession:
    return BoxSession(
        id=printable(found.execution_id),
        argv=tuple(printable(word) for word in found.argv),
        tty=found.tty,
        stdin=found.stdin,
        attached=found.attached,
        processes=found.processes,
        started_at=datetime.fromtimestamp(found.started_ns / 1e9, UTC) if found.started_ns else None,
        exit_code=None if found.running else exit_status(found.status).exit_code,
    )
