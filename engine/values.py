"""Frozen dataclasses that cost a third of `dataclasses.dataclass` to declare.

A command declares some eighty of them before it does anything. The standard decorator compiles seven methods for each,
six of which say the same for all: half a millisecond a class, a tenth of what a command takes. Here they are shared, and
only `__init__` is compiled. An instance costs more instead (2 µs for one of five fields): where many thousands of a class
are made, it is declared with the standard decorator.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # what it is to those who read it, and to mypy
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool):
        """As the standard one, for values."""
        if not (frozen and slots and kw_only):
            raise TypeError("values are frozen, have slots, and are made with keywords")

        def declare(cls: type) -> type:
            own = set(cls.__dict__)
            declared = dataclasses.dataclass(repr=False, eq=False, slots=True, kw_only=True)(cls)
            for name in _SHARED:
                if name not in own:
                    setattr(declared, name, _Value.__dict__[name])
            compared = [one.name for one in dataclasses.fields(declared) if one.compare]
            declared._compared = operator.attrgetter("__class__", *compared)
            return declared

        return declare


_SHARED = ("__setattr__", "__delattr__", "__eq__", "__hash__", "__repr__")


class _Value:
    """What all of them have in common."""

    __slots__ = ()
    _compared: ClassVar[Callable[[object], Any]]
    """The fields that make two of them equal."""

    def __setattr__(self, name: str, value: object) -> None:
        """A field is set once: by `__init__`, or from a pickle."""
        if hasattr(self, name):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(type(self)._compared(self) == type(self)._compared(other))

    def __hash__(self) -> int:
        return hash(type(self)._compared(self))

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # it is one, once it is declared
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields if one.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"
