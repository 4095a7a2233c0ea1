"""What a template may call, named and behaving as in Go's text/template and in Docker's formatting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.errors import InvalidArgumentError

_VERB_PATTERN = re.compile(r"%([-+ #0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
MAX_WIDTH = 10_000


def go_text(value: Any) -> str:
    """A value as Go prints it: `true`, `<nil>`, `[a b]`, `map[k:v]`."""
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
        case list() | tuple():
            return "[" + " ".join(go_text(item) for item in value) + "]"
        case int() | float():
            return str(value)
    raise InvalidArgumentError("template: that is not a value which can be shown")


def pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    """What `range` goes over: index and item of a list, key and value of a map in the order of its keys."""
    match value:
        case None:
            return iter(())
        case Mapping():
            return iter(sorted(value.items()))
        case list() | tuple():
            return iter(enumerate(value))
        case int() if not isinstance(value, bool) and 0 <= value <= MAX_WIDTH:
            return ((number, number) for number in range(value))
    raise InvalidArgumentError(f"template: range cannot go over {go_text(value)!r}")


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (Mapping, Sequence)):
        return len(value)
    if value is None:
        return 0
    raise InvalidArgumentError(f"template: len of {go_text(value)!r}, which has no length")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        match value:
            case Mapping():
                value = value.get(key, "")
            case list() | tuple() if isinstance(key, int) and -1 < key < len(value):
                value = value[key]
            case list() | tuple():
                raise InvalidArgumentError(
                    f"template: index {go_text(key)} is out of range, of {len(value)} items"
                )
            case _:
                raise InvalidArgumentError(
                    f"template: index {go_text(key)} of {go_text(value)!r}, which has none"
                )
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise InvalidArgumentError(f"template: slice of {go_text(value)!r}, which cannot be cut")
    return value[start:end]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _join(items: Any, separator: str = "") -> str:
    if isinstance(items, str) and not isinstance(separator, str):
        items, separator = separator, items
    return separator.join(go_text(item) for item in items or ())


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _print(*values: Any) -> str:
    return " ".join(go_text(value) for value in values)


def _printf(layout: str, *values: Any) -> str:
    rest = list(values)

    def fill(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        if max(int(width or 0), int(precision or 0)) > MAX_WIDTH:
            raise InvalidArgumentError(f"template: printf width above {MAX_WIDTH}")
        text = _formatted(verb, rest.pop(0), flags, precision)
        side = "<" if "-" in flags else ">"
        return f"{text:{side}{width}}" if width and "0" not in flags else text.rjust(int(width or 0), "0")

    return _VERB_PATTERN.sub(fill, layout)


def _formatted(verb: str, value: Any, flags: str, precision: str | None) -> str:
    try:
        match verb:
            case "s" | "v":
                return go_text(value)[: int(precision) if precision else None]
            case "q":
                return json.dumps(go_text(value), ensure_ascii=False)
            case "d":
                return f"{int(value):{'+' if '+' in flags else ''}d}"
            case "t":
                return go_text(bool(value))
            case "x" | "X":
                text = value.encode().hex() if isinstance(value, str) else f"{int(value):x}"
                return text.upper() if verb == "X" else text
            case "f" | "e" | "g":
                return f"{float(value):.{precision or 6}{verb}}"
    except (TypeError, ValueError):
        return f"%!{verb}({go_text(value)})"
    raise InvalidArgumentError(f"template: printf knows no %{verb}")


def _pad(text: str, before: int, after: int) -> str:
    if max(before, after) > MAX_WIDTH:
        raise InvalidArgumentError(f"template: pad above {MAX_WIDTH}")
    return " " * before + text + " " * after if text else ""


def _compare(name: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        try:
            return test(left, right)
        except TypeError:
            message = f"template: {name} cannot compare {go_text(left)!r} and {go_text(right)!r}"
            raise InvalidArgumentError(message) from None

    return compare


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": _compare("ge", lambda left, right: left >= right),
    "gt": _compare("gt", lambda left, right: left > right),
    "index": _index,
    "join": _join,
    "json": _json,
    "le": _compare("le", lambda left, right: left <= right),
    "len": _length,
    "lower": lambda text: go_text(text).lower(),
    "lt": _compare("lt", lambda left, right: left < right),
    "ne": lambda left, right: left != right,
    "pad": lambda text, before, after: _pad(go_text(text), before, after),
    "print": _print,
    "printf": _printf,
    "println": lambda *values: _print(*values) + "\n",
    "slice": _slice,
    "split": lambda text, separator: go_text(text).split(separator),
    "title": lambda text: go_text(text).title(),
    "truncate": lambda text, length: go_text(text)[:length],
    "upper": lambda text: go_text(text).upper(),
}
"""By the name templates call them; `and`, `or` and `not` are the language's own."""
