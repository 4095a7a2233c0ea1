"""The environment templates are rendered in: documented fields of plain values, the functions of `functions`, a few filters.

Jinja2's sandbox forbids private attributes; this one knows no attributes at all. `a.b` and `a["b"]` look a key up in a map
and nothing else, only our own functions can be called, and no template can load another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import LoopContext
from jinja2.sandbox import SandboxedEnvironment

from boxlite_cli.templates.functions import FUNCTIONS, go_text, pairs
from boxlite_cli.templates.syntax import PAIRS, ROOT, is_go_template, parse_go_template
from engine.errors import InvalidArgumentError

FILTERS = (
    "default", "first", "int", "last", "length", "list", "map", "max", "min", "reject", "rejectattr", "replace",
    "reverse", "round", "select", "selectattr", "sort", "string", "sum", "trim", "unique",
)  # fmt: skip
"""Jinja2's own that cannot reach more than they are given; ours of the same name as a function come on top."""

ALIASES = {"ID": "Id", "ImageID": "Image"}
"""Other spellings that Docker users type."""

LOOP_FIELDS = frozenset({"index", "index0", "revindex", "first", "last", "length"})


class _Environment(SandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        return _field(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, (list, tuple, str)) and isinstance(argument, int):
            try:
                return obj[argument]
            except IndexError:
                message = f"template: index {argument} is out of range, of {len(obj)} items"
                raise InvalidArgumentError(message) from None
        return _field(obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return any(obj is function for function in self.globals.values()) or _is_missing(obj)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic is for numbers: a multiplied text could fill the memory."""
        if not all(isinstance(side, (int, float)) for side in (left, right)) or operator == "**":
            raise InvalidArgumentError(f"template: {operator} is not allowed here")
        return super().call_binop(context, operator, left, right)


def _field(value: Any, name: Any) -> Any:
    if _is_missing(value) or not isinstance(value, Mapping):
        raise InvalidArgumentError(
            f"template: unknown field .{go_text(name)}: {go_text(value)!r} has no fields"
        )
    if name in value:
        return value[name]
    if ALIASES.get(name) in value:
        return value[ALIASES[name]]
    raise _unknown(name, value)


def _is_missing(value: Any) -> bool:
    """Always False: what was looked up and not found raises UndefinedError with its name as soon as it is used."""
    if isinstance(value, StrictUndefined):
        str(value)
    return False


def _shown(value: Any) -> str:
    return "" if _is_missing(value) else go_text(value)


def _unknown(name: Any, value: Mapping[str, Any]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"template: unknown field .{go_text(name)}",
        hint=f"fields here: {', '.join(map(str, value)) or 'none'}",
    )


def _build_environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, finalize=_shown, keep_trailing_newline=True)
    environment.globals = {**FUNCTIONS, PAIRS: pairs}
    environment.filters = {name: environment.filters[name] for name in FILTERS} | FUNCTIONS
    return environment


class CompiledTemplate:
    """A template that was understood; rendering it can only fail over a field."""

    def __init__(self, template: Template, *, is_go: bool) -> None:
        self._template = template
        self._is_go = is_go

    def render(self, value: Mapping[str, Any]) -> str:
        """Raises InvalidArgumentError naming an unknown field."""
        variables = {ROOT: value} if self._is_go else {**_aliased(value), **value}
        try:
            return self._template.render(variables)
        except UndefinedError as error:
            name = str(error.message or "").split("'")[1:2]
            raise _unknown(name[0] if name else "?", value) from None
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise InvalidArgumentError(f"template: {error}") from None


def _aliased(value: Mapping[str, Any]) -> dict[str, Any]:
    return {alias: value[name] for alias, name in ALIASES.items() if name in value}


def compile_template(text: str) -> CompiledTemplate:
    """Raises InvalidArgumentError when the text is not a template."""
    environment = _build_environment()
    is_go = is_go_template(text)
    try:
        if is_go:
            tree = parse_go_template(text)
            tree.set_environment(environment)
            code = environment.compile(tree)
            template = Template.from_code(environment, code, environment.make_globals(None))
        else:
            template = environment.from_string(text)
    except TemplateSyntaxError as error:
        raise InvalidArgumentError(f"template: {error.message}") from None
    except TemplateError as error:
        raise InvalidArgumentError(f"template: {error}") from None
    return CompiledTemplate(template, is_go=is_go)
