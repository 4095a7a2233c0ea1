"""`boxlite info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.output import Format
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings

EXAMPLES = """
  boxlite info
  boxlite info --format json
  boxlite info --format '{{.boxesRunning}}'
"""


def info(
    settings: Settings,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="yaml, json or a template. [default: yaml]"),
    ] = None,
) -> int:
    """Show what this installation has and can do."""
    return run_async(_info(settings, format_))


async def _info(settings: Settings, format_word: str | None) -> int:
    allowed = (Format.YAML, Format.JSON, Format.TEMPLATE)
    kind, template = output.parse_format(format_word, allowed, default=Format.YAML)
    async with settings.open_runtime() as runtime:
        found = await runtime.info()
    document: dict[str, Any] = {_camel(key): _plain(value) for key, value in asdict(found).items()}
    if kind is Format.TEMPLATE:
        output.print_template(template, [document], headings={})
    else:
        output.print_document(kind, document)
    return 0


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    """Enumerations as plain text, which YAML needs."""
    return str(value) if isinstance(value, str) else value


COMMAND = as_command(info, "info", examples=EXAMPLES)
