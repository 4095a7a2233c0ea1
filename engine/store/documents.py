"""Specs and states as JSON documents. A document of a newer schema is refused, never half understood."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.errors import MetadataError
from engine.model import SPEC_SCHEMA, BoxSpec, BoxState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


@functools.cache
def _decoders() -> dict[type[Any], Any]:
    import msgspec

    return {kind: msgspec.json.Decoder(kind) for kind in (BoxSpec, BoxState)}


def encode(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def decode_spec(text: str, *, box: str) -> BoxSpec:
    """Raises MetadataError for a document that is broken or of a newer schema."""
    spec: BoxSpec = _decode(BoxSpec, text, box)
    if spec.schema > SPEC_SCHEMA:
        raise MetadataError(
            f"its spec has schema {spec.schema}; this boxlite reads up to {SPEC_SCHEMA}",
            hint="a newer boxlite made this box: use that version",
            box=box,
        )
    return spec


def decode_state(text: str, *, box: str) -> BoxState:
    state: BoxState = _decode(BoxState, text, box)
    return state


def decode_attributes(text: str) -> dict[str, str]:
    import msgspec

    return msgspec.json.decode(text, type=dict[str, str])


def _decode(kind: type[Any], text: str, box: str) -> Any:
    import msgspec

    try:
        return _decoders()[kind].decode(text)
    except msgspec.MsgspecError as error:
        raise MetadataError(f"its {kind.__name__} cannot be read: {error}", box=box) from error
