"""Moments as people type them."""

from __future__ import annotations

from datetime import datetime, timedelta

from boxlite_cli.parsers import VALUES_HINT, parse_duration
from engine.errors import InvalidArgumentError
from engine.model import utc_now


def parse_time(word: str, now: datetime | None = None) -> datetime:
    """A moment: RFC 3339, a date, seconds since 1970 (ten digits or more), or how long ago (`90s`, `10m`, `30`)."""
    try:
        if word.replace(".", "", 1).isdecimal() and len(word.partition(".")[0]) >= 10:
            return datetime.fromtimestamp(float(word), tz=utc_now().tzinfo)
        if word[:1].isdecimal() and "-" in word:
            moment = datetime.fromisoformat(word)
            return moment if moment.tzinfo else moment.astimezone()
        return (now or utc_now()) - timedelta(seconds=parse_duration(word))
    except (ValueError, OverflowError, InvalidArgumentError):
        raise InvalidArgumentError(
            f"time {word!r} is neither a time like 2025-01-31T08:00:00Z nor a while ago like 10m",
            hint=VALUES_HINT,
        ) from None


def parse_optional_time(word: str | None) -> datetime | None:
    return None if word is None else parse_time(word)
