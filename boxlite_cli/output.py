"""What commands print: tables, JSON, YAML, templates or bare ids, each in one place.

Data goes to stdout, everything else to stderr. A table is aligned columns, two spaces apart, whose order never changes; on a
terminal with colours (`styling`), and folded where it would be too wide.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from boxlite_cli.styling import BOLD, RESET, RICH_NAMES, code_of, console, wants_color
from engine.errors import InvalidArgumentError


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TEMPLATE = "template"


def parse_format(word: str | None, allowed: Sequence[Format], *, default: Format) -> tuple[Format, str]:
    """The format and, for TEMPLATE, its text. `table TEMPLATE` is a template under a heading, as in Docker."""
    if word is None or word == "":
        return default, ""
    if word in allowed and word != Format.TEMPLATE:
        return Format(word), ""
    if Format.TEMPLATE in allowed and ("{{" in word or "{%" in word):
        return Format.TEMPLATE, word
    words = ", ".join("a template" if kind is Format.TEMPLATE else kind for kind in allowed)
    raise InvalidArgumentError(f"format {word!r} is not one of: {words}")


def check_quiet(quiet: bool, format_word: str | None) -> None:
    if quiet and format_word:
        raise InvalidArgumentError("-q cannot be combined with --format")


def write(text: str) -> None:
    """Write to stdout. Raises BrokenPipeError when nobody reads it, another BoxliteError when it cannot be written."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        from engine.fsutil import storage_error

        raise storage_error(error, "writing standard output") from error


def print_lines(lines: Iterable[str]) -> None:
    write("".join(f"{line}\n" for line in lines))


def print_document(kind: Format, document: Any) -> None:
    """Print JSON or YAML."""
    if kind is Format.JSON:
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml

        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    write(text)


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], headings: Mapping[str, str], template: str
) -> None:
    """A table of the `columns`, or the template for each row where there is one."""
    if template:
        print_template(template, rows, headings=headings)
    else:
        print_table(
            [headings[column] for column in columns],
            [[str(row[column]) for column in columns] for row in rows],
        )


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """On a terminal as wide as it is, with colours where they are wanted; elsewhere as it comes."""
    lines = aligned([headings, *rows])
    if sys.stdout.isatty() and max(map(len, lines)) > _columns():
        _print_rich_table(headings, rows)
    elif wants_color(sys.stdout):
        print_lines(_coloured(lines, [headings, *rows]))
    else:
        print_lines(lines)


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _coloured(lines: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The heading bold, words that matter in their colour. Made here: rich takes longer to load than a list to show."""
    coloured = [f"{BOLD}{lines[0]}{RESET}"]
    for line, row in zip(lines[1:], rows[1:], strict=True):
        for cell in row:
            code = code_of(cell)
            if code:
                line = line.replace(cell, f"\x1b[{code}m{cell}{RESET}", 1)
        coloured.append(line)
    return coloured


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with their columns under one another; no space at the end of a line."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _print_rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that is wider than the terminal: cells are folded."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        table.add_column(heading, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=RICH_NAMES.get(code_of(cell), "")) for cell in row))
    console().print(table)


def print_template(
    template: str, objects: Iterable[Mapping[str, Any]], *, headings: Mapping[str, str]
) -> None:
    """One line per object; `table TEMPLATE` puts its columns under headings."""
    from boxlite_cli.templates import compile_template

    is_table = template.startswith("table ")
    body = template.removeprefix("table ").strip() if is_table else template
    compiled = compile_template(body.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [compiled.render(item) for item in objects]
    if is_table:
        lines = aligned([line.split("\t") for line in [compiled.render(headings), *lines]])
    print_lines(lines)
