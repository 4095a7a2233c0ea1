"""Topics as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from boxlite_cli.pages.topics import Block, Code, Heading, Items, Paragraph, Table, Topic

WIDEST = 100
INDENT = "  "


def topic_text(topic: Topic, width: int) -> str:
    """The topic, folded to `width` columns."""
    width = max(40, min(width, WIDEST))
    lines = wrap(f"{topic.name}: {topic.summary}", width)
    for block in topic.blocks:
        lines += ["", *_lines(block, width)]
    return "\n".join(lines) + "\n"


def _lines(block: Block, width: int) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{block.text}:"
        case Paragraph():
            yield from wrap(_bare(block.text), width)
        case Items():
            for number, item in enumerate(block.items, start=1):
                mark = f"{number}. " if block.numbered else "- "
                yield from wrap(
                    _bare(item), width, initial_indent=INDENT + mark, subsequent_indent=INDENT + "   "
                )
        case Code():
            yield from (f"{INDENT}{INDENT}{line}".rstrip() for line in block.lines)
        case Table():
            yield from _table(block, width)


def _table(table: Table, width: int) -> Iterator[str]:
    """Columns beside one another, the last one folded; below one another where that leaves it too little room."""
    rows = [[_bare(cell) for cell in row] for row in (table.headings, *table.rows)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths) + len(INDENT)
    if width - indent < 24:
        for row in rows[1:]:
            term = next(cell for cell in row if cell not in ("", "-"))
            yield INDENT + term
            facts = [
                f"{name}: {cell}"
                for name, cell in zip(rows[0], row, strict=True)
                if cell not in ("", "-", term)
            ]
            yield from (
                line
                for fact in facts
                for line in wrap(fact, width, initial_indent=INDENT * 3, subsequent_indent=INDENT * 4)
            )
        return
    for row in rows:
        head = INDENT + "".join(f"{cell:<{size}}  " for cell, size in zip(row[:-1], widths, strict=True))
        first, *rest = wrap(row[-1], width - indent) or [""]
        yield f"{head}{first}".rstrip()
        yield from (f"{' ' * indent}{line}" for line in rest)


def _bare(text: str) -> str:
    return text.replace("`", "").replace("**", "")
