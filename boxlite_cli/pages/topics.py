"""What `boxlite help TOPIC` shows: texts in a small part of Markdown, from `boxlite_cli/topics/`.

The same texts are manual pages and part of the reference. What the program knows itself (settings, the layout of a home,
codes of errors) is filled in, so that it cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine.errors import BoxliteError
from engine.values import dataclass

DIRECTORY = Path(__file__).resolve().parents[1] / "topics"
SECTIONS = {"configuration": 5, "home": 5}
"""Sections of the manual; every other topic is in 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    text: str
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list; `numbered` 1., 2., …"""

    items: tuple[str, ...]
    numbered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Items | Code | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    name: str
    summary: str
    markdown: str

    @property
    def section(self) -> int:
        return SECTIONS.get(self.name, 7)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All but the title."""
        return tuple(parse(self.markdown))[1:]


def topic_names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.md"))


def find_topic(name: str) -> Topic | None:
    path = DIRECTORY / f"{name}.md"
    return _read(path) if name in topic_names() else None


def read_topics() -> list[Topic]:
    return [_read(DIRECTORY / f"{name}.md") for name in topic_names()]


def _read(path: Path) -> Topic:
    text = path.read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix("# ")
    name, _, summary = title.partition(": ")
    return Topic(name=name, summary=summary, markdown=_filled(text))


def _filled(text: str) -> str:
    for mark, make in (("settings", _settings), ("layout", _layout), ("errors", _errors)):
        if f"<!-- {mark} -->" in text:
            text = text.replace(f"<!-- {mark} -->", "\n".join(make()))
    return text


def _settings() -> Iterator[str]:
    from boxlite_cli.settings import SETTINGS

    yield "| key in the file | option | variable | built in | what it is |"
    yield "|---|---|---|---|---|"
    for one in SETTINGS:
        cells = (one.key, one.option, one.variable, one.default)
        yield f"| {' | '.join(f'`{cell}`' if cell else '-' for cell in cells)} | {one.help} |"


def _layout() -> Iterator[str]:
    from engine import layout

    return (f"    {line}" for line in (layout.__doc__ or "").strip().splitlines()[2:])


def _errors() -> Iterator[str]:
    from boxlite_cli.pages.error_codes import CODES

    yield "| code | what happened | retryable | status | what to do |"
    yield "|---|---|---|---|---|"
    for code, kind in sorted(error_kinds().items()):
        status = "1, or 125" if kind.exit_status == 1 and code != "not_a_terminal" else kind.exit_status
        meaning, remedy = CODES.get(code, ("see the message", "see the hint"))
        yield f"| `{code}` | {meaning} | {'yes' if kind.retryable else 'no'} | {status} | {remedy} |"


def error_kinds() -> dict[str, type[BoxliteError]]:
    """The class of each code: of several, the one nearest to the root."""
    import engine.process  # noqa: F401  it has an error of its own

    return {kind.code: kind for kind in reversed(_subclasses(BoxliteError))}


def _subclasses(kind: type[BoxliteError]) -> list[type[BoxliteError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _subclasses(child))]


_ITEM = re.compile(r"(?:-|(\d+)\.) +")


def parse(markdown: str) -> Iterator[Block]:
    """The blocks of a text: headings, paragraphs, lists of one level, indented code, tables."""
    lines = markdown.splitlines()
    while lines:
        line = lines[0]
        if not line.strip():
            lines.pop(0)
        elif line.startswith("#"):
            marks, _, text = lines.pop(0).partition(" ")
            yield Heading(text=text, level=len(marks))
        elif line.startswith("    "):
            yield Code(lines=tuple(_code(lines)))
        elif line.startswith("|"):
            yield _table(_taken(lines, lambda row: row.startswith("|")))
        elif _ITEM.match(line):
            yield _items(_taken(lines, lambda row: bool(row.strip())))
        else:
            yield Paragraph(text=" ".join(_taken(lines, lambda row: bool(row.strip()))))


def _taken(lines: list[str], belongs: Callable[[str], bool]) -> list[str]:
    taken = []
    while lines and belongs(lines[0]):
        taken.append(lines.pop(0).strip())
    return taken


def _code(lines: list[str]) -> list[str]:
    taken = []
    while lines and (lines[0].startswith("    ") or not lines[0].strip()):
        taken.append(lines.pop(0)[4:].rstrip())
    while taken and not taken[-1]:
        taken.pop()
    return taken


def _table(rows: Sequence[str]) -> Table:
    cells = [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]) for row in rows]
    unescaped = [tuple(cell.replace("\\|", "|") for cell in row) for row in cells]
    return Table(headings=unescaped[0], rows=tuple(unescaped[2:]))


def _items(lines: Sequence[str]) -> Items:
    items: list[str] = []
    for line in lines:
        mark = _ITEM.match(line)
        if mark:
            items.append(line[mark.end() :])
        else:
            items[-1] += f" {line}"
    return Items(items=tuple(items), numbered=lines[0][0].isdigit())
