"""`docs/reference/python.md`: the library's public names with their signatures and docstrings."""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass

CHAPTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("The runtime", "boxlite.runtime", ("boxlite.images", "boxlite.volumes", "boxlite.listening")),
    ("Boxes", "boxlite.box", ("boxlite.simplebox", "boxlite.interactive")),
    ("Commands in boxes", "boxlite.execution", ("boxlite.streams",)),
    ("Network", "boxlite.network", ()),
    ("Options", "boxlite.options", ("boxlite.security",)),
    ("What is told", "boxlite.values", ("engine.metrics", "engine.events", "engine.model")),
    ("Errors", "engine.errors", ("boxlite.errors",)),
)
_HEAD = """# The Python library

Generated from the docstrings by `scripts/generate`. How it is used is told in [Boxes for AI agents](../guides/ai-agents.md).

Everything is reached as `boxlite.NAME`, and loaded when it is first used. Methods marked `async` are awaited; a class
`SyncNAME` has the same methods without (see [at the end](#without-an-event-loop)). `SimpleBox` and its kinds have the file operations of `Box` too.
"""
_SYNC = """## Without an event loop

Each of these has the methods of the class it is named after, called plainly; they run on an event loop in a thread of
its own, so that they work in threads and where a loop runs already (Jupyter).
"""


def python_reference() -> str:
    """The page. The same library gives the same text."""
    import boxlite

    public = {name: getattr(boxlite, name) for name in boxlite.__all__}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    plain = {name: owner for name, owner in classes.items() if not name.startswith("Sync")}
    text = [_HEAD]
    for title, first, others in CHAPTERS:
        text.append(f"## {title}\n")
        for module in (first, *others):
            found = [owner for owner in plain.values() if _belongs(owner, module)]
            found.sort(key=lambda owner: (owner.__module__, inspect.getsourcelines(owner)[1]))
            text += [_class(owner) for owner in found]
    text.append(_SYNC)
    text.append(
        "\n".join(f"- `{name}`: `{name.removeprefix('Sync')}`" for name in classes if name not in plain)
    )
    return "\n".join(text) + "\n"


def _belongs(owner: type, module: str) -> bool:
    return owner.__module__ == module or (
        module == "engine.model" and owner.__module__.startswith("engine.model.")
    )


def _class(owner: type) -> str:
    bases = [base.__name__ for base in owner.__bases__ if base.__module__.startswith(("boxlite", "engine"))]
    note = f" ({', '.join(bases)})" if bases and issubclass(owner, Exception) else ""
    code = f"`code`: `{owner.code}`." if issubclass(owner, Exception) and hasattr(owner, "code") else ""
    parts = [f"### {owner.__name__}{note}\n", _words(owner.__doc__), code and f"{code}\n"]
    if issubclass(owner, enum.Enum):
        parts.append("Values: " + ", ".join(f"`{member.value}`" for member in owner) + ".\n")
    elif is_dataclass(owner):
        parts.append("\n".join(_fields(owner)) + "\n")
    elif "__init__" in vars(owner) and owner.__module__ in _CONSTRUCTED:
        parts.append(f"    {owner.__name__}{_parameters(owner.__init__)}\n")
    parts += [_member(name, value) for name, value in _members(owner)]
    return "\n".join(part for part in parts if part)


_CONSTRUCTED = ("boxlite.runtime", "boxlite.simplebox", "boxlite.interactive", "boxlite.errors")


def _fields(owner: type) -> Iterator[str]:
    for field in fields(owner):
        default = ""
        if field.default is not MISSING:
            default = (
                f" = `{field.default.value if isinstance(field.default, enum.Enum) else field.default!r}`"
            )
        elif field.default_factory is not MISSING:
            default = f" = `{field.default_factory()!r}`"
        yield f"- `{field.name}: {_tidy(field.type if isinstance(field.type, str) else field.type.__name__)}`{default}"


def _members(owner: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties of the class, with those of bases that have no heading of their own."""
    import boxlite

    told = {
        one
        for base in owner.__mro__[1:]
        if getattr(boxlite, base.__name__, None) is base
        for one in base.__mro__
    }
    if owner.__name__ != "Box":
        told |= {base for base in owner.__mro__ if base.__name__ == "BoxFiles"}  # told once, with Box
    seen: set[str] = set()
    for base in owner.__mro__:
        if not base.__module__.startswith(("boxlite", "engine")) or base in told:
            continue
        for name, value in vars(base).items():
            known = inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)
            if not name.startswith("_") and known and name not in seen:
                seen.add(name)
                yield name, value


def _member(name: str, value: object) -> str:
    if isinstance(value, property):
        assert value.fget is not None
        returns = _tidy(str(inspect.signature(value.fget).return_annotation))
        return f"#### `{name}: {returns}`\n\n{_words(value.__doc__)}"
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    assert callable(function)
    kind = "async " if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) else ""
    owner = "classmethod " if isinstance(value, classmethod) else ""
    return f"#### {owner}{kind}`{name}`\n\n    {name}{_parameters(function)}\n\n{_words(function.__doc__)}"


def _parameters(function: Callable[..., object]) -> str:
    """The signature as it is written, over several lines where it is long."""
    signature = inspect.signature(function)
    kept = [one for name, one in signature.parameters.items() if name not in ("self", "cls")]
    words, keyword = [], False
    for one in kept:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not keyword:
            keyword = True
            words.append("*")
        words.append(_tidy(_default(str(one), one.default)))
    returns = signature.return_annotation
    arrow = "" if returns in (inspect.Signature.empty, "None") else f" -> {_tidy(str(returns))}"
    line = f"({', '.join(words)}){arrow}"
    if len(line) <= 90:
        return line
    inside = textwrap.fill(
        ", ".join(words), 100, initial_indent=" " * 8, subsequent_indent=" " * 8, break_long_words=False
    )
    return f"(\n{inside}\n    ){arrow}"


def _default(text: str, default: object) -> str:
    if isinstance(default, enum.Enum):
        return text.replace(repr(default), str(default.value))
    return text


def _tidy(annotation: str) -> str:
    return re.sub(r"\b(?:model|builtins|datetime)\.(?=\w)", "", annotation).replace("'", "")


def _words(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "") + "\n"
