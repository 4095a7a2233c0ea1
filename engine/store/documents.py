"""Specs and states as JSON documents. A document of a newer schema is refused, never half understood."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from engine.errors import MetadataError
from engine.model import SPEC_SCHEMA, BoxSpec, BoxState, ListedSpec

T = TypeVar("T")
SPECS_KEPT = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


@functools.cache
def _decoders() -> dict[type[Any], Any]:
    import msgspec

    return {kind: msgspec.json.Decoder(kind) for kind in (BoxSpec, BoxState, ListedSpec)}


def encode(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def decode_spec(text: str, *, box: str) -> BoxSpec:
    """Raises MetadataError for a document that is broken or of a newer schema."""
    spec = _decode(_decode_spec, text, box=box, what="spec")
    _check_schema(spec.schema, box)
    return spec


def decode_listed_spec(text: str, *, box: str) -> ListedSpec:
    """The part of a spec that a list needs. Raises as `decode_spec`."""
    spec: ListedSpec = _decode(_decoders()[ListedSpec].decode, text, box=box, what="spec")
    _check_schema(spec.schema, box)
    return spec


def _check_schema(schema: int, box: str) -> None:
    if schema > SPEC_SCHEMA:
        raise MetadataError(
            f"its spec has schema {schema}; this boxlite reads up to {SPEC_SCHEMA}",
            hint="a newer boxlite made this box: use that version",
            box=box,
        )


@functools.lru_cache(maxsize=SPECS_KEPT)
def _decode_spec(text: str) -> BoxSpec:
    """Boxes made by one command have one spec, word for word; it is frozen, so they may share the object."""
    spec: BoxSpec = _decoders()[BoxSpec].decode(text)
    return spec


def decode_state(text: str, *, box: str) -> BoxState:
    state: BoxState = _decode(_decoders()[BoxState].decode, text, box=box, what="state")
    return state


def decode_attributes(text: str) -> dict[str, str]:
    import msgspec

    return msgspec.json.decode(text, type=dict[str, str])


def _decode(decode: Callable[[str], T], text: str, *, box: str, what: str) -> T:
    import msgspec

    try:
        return decode(text)
    except msgspec.MsgspecError as error:
        raise MetadataError(f"its {what} cannot be read: {error}", box=box) from error
