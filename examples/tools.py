"""A box as a set of tools for a language model.

`BoxTools` is all an agent framework needs: descriptions to hand to the model, and `call` for what the model asks. The
three functions at the end give the descriptions the shape that the common interfaces want; none of their packages is
needed for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import boxlite

Schema = dict[str, object]

MAX_CHARACTERS = 8000
"""Of a result: what a model reads costs, and a command may print without end."""


class BoxTools:
    """Three tools that work in one box. A call never raises: what went wrong is told to the model, which may try anew."""

    def __init__(self, box: boxlite.SimpleBox, *, timeout: float = 60.0) -> None:
        self._box = box
        self._timeout = timeout

    def descriptions(self) -> Sequence[tuple[str, str, Schema]]:
        """Name, purpose and parameters (JSON Schema) of each."""
        return (
            ("run_shell", "Run a line of shell; its output and exit status.", _object(command="the line")),
            ("write_file", "Write a text file.", _object(path="absolute path", text="what to write")),
            ("read_file", "Read a text file.", _object(path="absolute path")),
        )

    async def call(self, name: str, arguments: str | Mapping[str, object]) -> str:
        """Do what the model asked, its arguments as JSON or decoded."""
        try:
            given = json.loads(arguments) if isinstance(arguments, str) else arguments
            return _shortened(await self._call(name, {key: str(value) for key, value in given.items()}))
        except boxlite.BoxliteError as error:
            return f"error: {error}" + (f" ({error.hint})" if error.hint else "")
        except (KeyError, ValueError, AttributeError) as error:
            return f"error: the arguments of {name} are wrong: {error!r}"

    async def _call(self, name: str, given: Mapping[str, str]) -> str:
        match name:
            case "run_shell":
                result = await self._box.exec("sh", "-c", given["command"], timeout=self._timeout)
                return f"{result.stdout}{result.stderr}[exit status {result.exit_code}]"
            case "write_file":
                return f"{await self._box.write_file(given['path'], given['text'])} bytes written"
            case "read_file":
                text: str = await self._box.read_text(given["path"])
                return text
        return f"error: there is no tool {name!r}"


def _object(**properties: str) -> Schema:
    described = {name: {"type": "string", "description": text} for name, text in properties.items()}
    return {
        "type": "object",
        "properties": described,
        "required": list(properties),
        "additionalProperties": False,
    }


def _shortened(text: str) -> str:
    """Begin and end, where it is long: the end tells how it went."""
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def as_functions(tools: BoxTools) -> list[Schema]:
    """For interfaces with `tools=[{"type": "function", "function": …}]`, as OpenAI's chat completions and all that copy
    them. A call comes back as `tool_calls[n].function.name` and `.arguments`."""
    return [
        {"type": "function", "function": {"name": name, "description": purpose, "parameters": schema}}
        for name, purpose, schema in tools.descriptions()
    ]


def as_input_schemas(tools: BoxTools) -> list[Schema]:
    """For interfaces with `tools=[{"name", "description", "input_schema"}]`, as Anthropic's messages. A call comes back as
    a `tool_use` block with `.name` and `.input`."""
    return [
        {"name": name, "description": purpose, "input_schema": schema}
        for name, purpose, schema in tools.descriptions()
    ]


def as_protocol_tools(tools: BoxTools) -> list[Schema]:
    """For the answer to `tools/list` of the Model Context Protocol. A call comes as `tools/call` with `name` and
    `arguments`."""
    return [
        {"name": name, "description": purpose, "inputSchema": schema}
        for name, purpose, schema in tools.descriptions()
    ]
