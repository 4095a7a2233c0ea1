"""`boxlite version`."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command
from boxlite_cli.output import Format
from engine.version import __version__

EXAMPLES = """
  boxlite version
  boxlite version --format json
  boxlite version --format '{{.Version}}'
"""


def version(
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="yaml, json or a template. [default: yaml]"),
    ] = None,
) -> int:
    """Show the version of BoxLite and what it runs on."""
    allowed = (Format.YAML, Format.JSON, Format.TEMPLATE)
    kind, template = output.parse_format(format_, allowed, default=Format.YAML)
    document = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": platform.machine(),
        "Kernel": platform.release(),
    }
    if kind is Format.TEMPLATE:
        output.print_template(template, [document], headings={})
    else:
        output.print_document(kind, document)
    return 0


COMMAND = as_command(version, "version", examples=EXAMPLES)
