"""What every service needs: handlers that turn failures into statuses and details."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Stream

from guest.errors import GuestError, from_os_error
from guest.wire.constants import ERROR_TRAILER
from guest.wire.portal_pb2 import ErrorDetail

_STATUSES = {
    "not_found": Status.NOT_FOUND,
    "command_not_found": Status.NOT_FOUND,
    "already_exists": Status.ALREADY_EXISTS,
    "permission_denied": Status.PERMISSION_DENIED,
    "read_only": Status.PERMISSION_DENIED,
    "command_not_executable": Status.PERMISSION_DENIED,
    "resource_exhausted": Status.RESOURCE_EXHAUSTED,
    "invalid_argument": Status.INVALID_ARGUMENT,
    "not_directory": Status.INVALID_ARGUMENT,
    "is_directory": Status.INVALID_ARGUMENT,
    "not_empty": Status.FAILED_PRECONDITION,
    "invalid_state": Status.FAILED_PRECONDITION,
    "stopped": Status.FAILED_PRECONDITION,
    "broken_pipe": Status.FAILED_PRECONDITION,
    "timeout": Status.DEADLINE_EXCEEDED,
    "unsupported": Status.UNIMPLEMENTED,
}


def unary(function: Callable[[Any], Awaitable[Any]], request: type[Any], reply: type[Any]) -> Handler:
    """A handler for one request and one reply."""

    async def handle(stream: Stream[Any, Any]) -> None:
        message = await stream.recv_message()
        if message is not None:
            await stream.send_message(await function(message))

    return Handler(_guarded(handle), Cardinality.UNARY_UNARY, request, reply)


def streaming(
    function: Callable[[Stream[Any, Any]], Awaitable[None]],
    cardinality: Cardinality,
    request: type[Any],
    reply: type[Any],
) -> Handler:
    """A handler that reads and writes its stream itself."""
    return Handler(_guarded(function), cardinality, request, reply)


def _guarded(
    function: Callable[[Stream[Any, Any]], Awaitable[None]],
) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
    async def call(stream: Stream[Any, Any]) -> None:
        try:
            await function(stream)
        except (asyncio.CancelledError, StreamTerminatedError):
            raise
        except GuestError as error:
            await _fail(stream, error)
        except OSError as error:
            await _fail(stream, from_os_error(error, "the agent's call"))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            await _fail(stream, GuestError("internal", f"the agent failed: {type(error).__name__}: {error}"))

    return call


async def _fail(stream: Stream[Any, Any], error: GuestError) -> None:
    detail = ErrorDetail(code=error.code, message=error.message, hint=error.hint, errno=error.errno)
    await stream.send_trailing_metadata(
        status=_STATUSES.get(error.code, Status.UNKNOWN),
        status_message=error.message,
        metadata={ERROR_TRAILER: detail.SerializeToString()},
    )
