"""Our dataclasses behave as the standard ones do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field

import pytest

from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Somewhere."""

    x: int
    y: int = 0
    label: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)
    tags: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot(Point):
    """Somewhere in space."""

    z: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taciturn:
    secret: str

    def __repr__(self) -> str:
        return "Taciturn()"


def test_value_made_has_fields_and_defaults() -> None:
    point = Point(x=1)
    assert (point.x, point.y, point.label, point.tags) == (1, 0, "", ())
    assert not hasattr(point, "__dict__")


def test_value_made_without_keywords_refused() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "word"),
    [({}, "missing.*'x'"), ({"x": 1, "w": 2}, "unexpected.*'w'"), ({"w": 2}, "unexpected.*'w'")],
)
def test_value_made_with_wrong_arguments_refused_by_name(given: dict[str, int], word: str) -> None:
    with pytest.raises(TypeError, match=word):
        Point(**given)  # type: ignore[arg-type]


def test_value_default_made_anew_is_not_shared() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Bag:
        things: list[int] = field(default_factory=list)

    Bag().things.append(1)
    assert Bag() == Bag(things=[])


def test_value_post_init_runs() -> None:
    with pytest.raises(ValueError, match="x"):
        Point(x=-1)


@pytest.mark.parametrize("name", ["x", "y", "unknown"])
def test_value_field_assigned_refused(name: str) -> None:
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(Point(x=1), name, 2)


def test_value_field_deleted_refused() -> None:
    with pytest.raises(FrozenInstanceError, match="x"):
        del Point(x=1).x  # type: ignore[misc]


def test_value_compared_is_equal_by_its_compared_fields() -> None:
    assert Point(x=1, seen=1) == Point(x=1, seen=2)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Spot(x=1)
    assert Point(x=1) != (1, 0)


def test_value_hashed_agrees_with_equality() -> None:
    assert len({Point(x=1, seen=1), Point(x=1, seen=2), Point(x=2), Spot(x=1)}) == 3


def test_value_shown_leaves_out_what_is_not_to_be_shown() -> None:
    assert repr(Point(x=1, label="hidden")) == "Point(x=1, y=0, seen=0, tags=())"
    assert repr(Taciturn(secret="s")) == "Taciturn()"


@pytest.mark.parametrize("value", [Point(x=1, y=2, tags=("a",)), Spot(x=1, z=3)])
def test_value_copied_is_equal(value: Point) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.copy(value) == value == copy.deepcopy(value)


def test_value_under_the_functions_of_dataclasses_is_one() -> None:
    assert dataclasses.is_dataclass(Point)
    assert dataclasses.replace(Point(x=1, y=5), x=2) == Point(x=2, y=5)
    assert dataclasses.asdict(Spot(x=1))["z"] == 0
    assert list(inspect.signature(Point).parameters) == ["x", "y", "label", "seen", "tags"]


def test_value_that_could_be_changed_refused() -> None:
    with pytest.raises(TypeError, match="frozen"):
        dataclass(frozen=False, slots=True, kw_only=True)
