"""The one seam at which grpcio's errors become ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from engine import errors
from engine.errors import BoxliteError, DeadlineError, RpcError, RpcTransportError
from guest.wire.constants import ERROR_TRAILER
from guest.wire.portal_pb2 import ErrorDetail

MAX_TEXT = 2000


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


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """A guest's text as it may be shown: no control characters, not without end."""
    return "".join(c if c.isprintable() else "�" for c in text[:limit])


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
            detail = ErrorDetail.FromString(value)
            return error_class(detail.code)(
                printable(detail.message), hint=printable(detail.hint) or None, operation=operation
            )
    status, text = error.code(), printable(error.details() or "")
    if status is grpc.StatusCode.UNAVAILABLE:
        return RpcTransportError("the connection to the machine was lost", operation=operation)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError("the machine's agent did not answer in time", operation=operation)
    return RpcError(f"{status.name.lower().replace('_', ' ')}: {text}", operation=operation)
