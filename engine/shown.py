"""Text of strangers as it may be shown: in a terminal, a table, an error."""

from __future__ import annotations

MAX_TEXT = 2000
REPLACEMENT = "�"


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """One line of at most `limit` characters in which nothing moves a cursor, rings or hides: control and format characters
    (Unicode's category C, line ends included) become visible."""
    return "".join(c if c.isprintable() else REPLACEMENT for c in text[:limit])


def printable_lines(text: str) -> str:
    """The same for text of several lines: line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else REPLACEMENT for c in text)
