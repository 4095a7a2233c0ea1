"""Answers of our own, where a request cannot be passed on: one line that says why and what would help."""

from __future__ import annotations

from dataclasses import dataclass

from engine.net.interception.substitution import Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`status` is the HTTP status; `reason` one line, without secrets."""

    status: int
    reason: str

    @property
    def body(self) -> bytes:
        return f"boxlite: {self.reason}\n".encode()

    @property
    def headers(self) -> list[Header]:
        return [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(self.body)).encode()),
        ]


class ProtocolViolationError(Exception):
    """What came is not the protocol that was agreed on. `status` is what HTTP calls that."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def check_request(
    host: str, port: int, *, method: bytes, target: bytes, authorities: list[bytes]
) -> Refusal | None:
    """Why a request may not be passed on to `host`. `authorities` are all that it says about where it goes: a server that
    serves many names must not be told another than the one whose certificate was checked."""
    if method == b"CONNECT":
        return Refusal(status=405, reason=f"{host} gets secrets of this box: no tunnel is opened through it")
    if method == b"TRACE":
        return Refusal(status=405, reason="TRACE would send the secrets of the request back")
    if not target.startswith(b"/") and target != b"*":
        scheme, _, rest = target.partition(b"://")
        if scheme.lower() != b"https" or not rest:
            return Refusal(status=400, reason="the request's target is not a path")
        authorities = [*authorities, rest.partition(b"/")[0].partition(b"?")[0]]
    if not authorities:
        return Refusal(status=400, reason="the request does not say which host it is for")
    for authority in authorities:
        if not _is_for(authority, host, port):
            shown = authority.decode("latin-1")
            return Refusal(
                status=421,
                reason=f"this connection is for {host}, and the request in it for {shown!r}; open one for that host",
            )
    return None


def _is_for(authority: bytes, host: str, port: int) -> bool:
    name, colon, number = authority.decode("latin-1").lower().partition(":")
    return name.removesuffix(".") == host and (number == str(port) if colon else True)
