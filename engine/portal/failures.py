"""The one seam at which grpcio's errors become ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from engine import errors
from engine.errors import BoxliteError, DeadlineError, RpcError, RpcTransportError
from engine.shown import printable
from guest.wire.constants import ERROR_TRAILER
from guest.wire.portal_pb2 import ErrorDetail

GUEST_CODES = frozenset({
    "already_exists", "broken_pipe", "command_not_executable", "command_not_found", "execution_failed", "internal",
    "invalid_argument", "invalid_state", "is_directory", "not_directory", "not_empty", "not_found", "permission_denied",
    "read_only", "resource_exhausted", "stopped", "timeout", "unsupported",
})  # fmt: skip
"""What an agent has to say (guest/errors.py, guest/services/calls.py): it cannot speak for other parts of the host."""


def _classes(base: type[BoxliteError]) -> Iterator[type[BoxliteError]]:
    yield base
    for sub in base.__subclasses__():
        yield from _classes(sub)


def error_class(code: str) -> type[BoxliteError]:
    """The error of ours with this `code`; RpcError where there is none."""
    for found in _classes(BoxliteError):
        if found.__module__ == errors.__name__ and found.code == code:
            return found
    return RpcError


@contextlib.contextmanager
def translated(operation: str) -> Iterator[None]:
    """Turn grpcio's errors into ours: the agent's own (by code), a lost connection, a deadline."""
    import grpc

    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _translate(error, operation) from None
    except grpc.aio.UsageError:
        raise RpcTransportError("the connection to the machine is closed", operation=operation) from None


def _translate(error: object, operation: str) -> BoxliteError:
    import grpc

    assert isinstance(error, grpc.aio.AioRpcError)
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_TRAILER and isinstance(value, bytes):
            return _detailed(value, operation)
    status, text = error.code(), printable(error.details() or "")
    if status is grpc.StatusCode.UNAVAILABLE:
        return RpcTransportError("the connection to the machine was lost", operation=operation)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError("the machine's agent did not answer in time", operation=operation)
    return RpcError(f"{status.name.lower().replace('_', ' ')}: {text}", operation=operation)


def _detailed(trailer: bytes, operation: str) -> BoxliteError:
    """The error an agent describes; RpcError when it describes none that is its own."""
    try:
        detail = ErrorDetail.FromString(trailer)
    except DecodeError:
        return RpcError("the agent's account of its failure cannot be read", operation=operation)
    found = error_class(detail.code) if detail.code in GUEST_CODES else RpcError
    return found(printable(detail.message), hint=printable(detail.hint) or None, operation=operation)
