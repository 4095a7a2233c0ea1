"""Frozen dataclasses that cost a tenth of `dataclasses.dataclass` to declare.

A command declares some eighty of them before it does anything. The standard decorator compiles seven methods for each, half a
millisecond a class, a tenth of what a command takes; and all seven say the same for every class. Here they are shared, and
nothing is compiled. An instance costs more instead (1.2 µs for one of five fields): where many thousands of a class
are made, it is declared with the standard decorator.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # what it is to those who read it, and to mypy
    from inspect import Signature
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool):
        """As the standard one, for values."""
        if not (frozen and slots and kw_only):
            raise TypeError("values are frozen, have slots, and are made with keywords")

        def declare(cls: type) -> type:
            own = set(cls.__dict__)
            declared = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(cls)
            for name in _SHARED:
                if name not in own:
                    setattr(declared, name, _Value.__dict__[name])
            fields = dataclasses.fields(declared)
            declared._names = frozenset(one.name for one in fields)
            declared._defaults = {
                one.name: one.default for one in fields if one.default is not dataclasses.MISSING
            }
            declared._factories = tuple(
                (one.name, one.default_factory)
                for one in fields
                if one.default_factory is not dataclasses.MISSING
            )
            declared._compared = operator.attrgetter(
                "__class__", *(one.name for one in fields if one.compare)
            )
            if not hasattr(declared, "__post_init__"):
                declared.__post_init__ = _Value.__post_init__
            return declared

        return declare


_SHARED = (
    "__init__", "__setattr__", "__delattr__", "__eq__", "__hash__", "__repr__", "__signature__",
)  # fmt: skip


class _LazySignature:
    """What `inspect.signature` finds, made when it looks."""

    def __get__(self, instance: object, owner: type) -> Signature:
        from inspect import Parameter, Signature

        return Signature(
            [
                Parameter(one.name, Parameter.KEYWORD_ONLY, default=_shown_default(one), annotation=one.type)
                for one in dataclasses.fields(owner)
            ],
            return_annotation=None,
        )


def _shown_default(field: dataclasses.Field[Any]) -> object:
    from inspect import Parameter

    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    return Parameter.empty if field.default is dataclasses.MISSING else field.default


class _Value:
    """What all of them have in common."""

    __slots__ = ()
    _names: ClassVar[frozenset[str]]
    """All fields."""
    _defaults: ClassVar[Mapping[str, Any]]
    _factories: ClassVar[tuple[tuple[str, Callable[[], Any]], ...]]
    """Fields whose default is made anew for each."""
    _compared: ClassVar[Callable[[object], Any]]
    """The fields that make two of them equal."""
    __signature__ = _LazySignature()

    def __init__(self, /, **given: Any) -> None:
        values = {**self._defaults, **given}
        for name, make in self._factories:
            if name not in given:
                values[name] = make()
        if values.keys() != self._names:
            raise _wrong_arguments(type(self), given.keys() - self._names, self._names - values.keys())
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """For those that check nothing."""

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


def _wrong_arguments(cls: type, unknown: Set[str], missing: Set[str]) -> TypeError:
    """In the words of a compiled `__init__`."""
    if unknown:
        return TypeError(f"{cls.__name__}.__init__() got an unexpected keyword argument {min(unknown)!r}")
    names = ", ".join(map(repr, sorted(missing)))
    return TypeError(f"{cls.__name__}.__init__() missing required keyword-only arguments: {names}")
