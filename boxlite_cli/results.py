"""What commands that do something say of it: a line for each thing, as it is done, or the same for programs.

    boxlite stop web db                    web, db: what Docker prints, and what `$(…)` takes
    boxlite stop --format json web db      [{"ID": …, "Name": "web", "Status": "stopped"}, …]

A command that makes one thing prints one object; one that may be given several prints a list, even of one. A template
is a line for each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from boxlite_cli.output import Format, parse_format, print_document, print_lines

if TYPE_CHECKING:
    from boxlite_cli.templates import CompiledTemplate
    from engine.model import BoxRecord, Image

FORMATS = (Format.JSON, Format.YAML, Format.TEMPLATE)
STREAM_FORMATS = (Format.JSON, Format.TEMPLATE)


@dataclass(slots=True)
class Results:
    """Where results go, one after another."""

    kind: Format
    template: str = ""
    _compiled: CompiledTemplate | None = None
    _kept: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind is Format.TEMPLATE:
            from boxlite_cli.templates import compile_template

            self._compiled = compile_template(self.template.replace("\\t", "\t").replace("\\n", "\n"))

    @property
    def is_text(self) -> bool:
        return self.kind is Format.TABLE

    def add(self, lines: Iterable[str], shown: Mapping[str, Any]) -> None:
        """Print the lines, or what the template makes of the object; keep it for the document."""
        if self.is_text:
            print_lines(lines)
        elif self._compiled is not None:
            print_lines([self._compiled.render(shown)])
        else:
            self._kept.append(shown)

    def add_line(self, shown: Mapping[str, Any]) -> None:
        """Print an object of a stream: its line of JSON, or what the template makes of it."""
        if self._compiled is not None:
            self.add((), shown)
        else:
            print_lines([json.dumps(shown, ensure_ascii=False)])

    def close(self) -> None:
        """Print the document, a list of what was added."""
        if self.kind in (Format.JSON, Format.YAML):
            print_document(self.kind, self._kept)

    def print_one(self, lines: Iterable[str], shown: Mapping[str, Any]) -> None:
        """Print the only result there is."""
        if self.kind in (Format.JSON, Format.YAML):
            print_document(self.kind, shown)
        else:
            self.add(lines, shown)
        sys.stdout.flush()

    def print_whole(self, whole: Mapping[str, Any], parts: Iterable[Mapping[str, Any]]) -> None:
        """Print one document of many parts, or what the template makes of each part."""
        if self._compiled is None:
            print_document(self.kind, whole)
        for part in parts if self._compiled else ():
            self.add((), part)


def open_results(format_word: str | None) -> Results:
    """Where the results of a command go that was asked for this format. Raises InvalidArgumentError for one that is none."""
    return Results(*parse_format(format_word, FORMATS, default=Format.TABLE))


def box_result(record: BoxRecord, **more: Any) -> dict[str, Any]:
    return {"ID": record.id, "Name": record.name, "Status": str(record.status)} | more


def image_result(image: Image) -> dict[str, Any]:
    return {"ID": image.config_digest, "Name": image.reference, "Digest": image.source_digest}
