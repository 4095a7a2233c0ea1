from __future__ import annotations

import pytest

from engine.errors import InvalidArgumentError
from engine.ids import new_box_id
from engine.model import BOX_ID_PATTERN, NAME_PATTERN
from engine.names import ADJECTIVES, NOUNS, check_name, made_up_name


def test_new_box_id_is_twelve_of_base62_and_never_the_same() -> None:
    ids = {new_box_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(BOX_ID_PATTERN.fullmatch(box_id) for box_id in ids)


def test_made_up_names_are_valid_and_many() -> None:
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert len(set(NOUNS)) == len(NOUNS)
    assert len(ADJECTIVES) * len(NOUNS) > 8000
    assert all(NAME_PATTERN.fullmatch(made_up_name(attempt)) for attempt in range(6))


def test_made_up_name_after_collisions_has_a_number() -> None:
    assert made_up_name(3).rpartition("_")[2].isdigit()


def test_check_name_returns_a_valid_one() -> None:
    assert check_name("web-1.a_b") == "web-1.a_b"


@pytest.mark.parametrize("name", ["", ".x", "a b", "é", "x" * 129])
def test_check_name_invalid_raises_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_name(name)
    assert "128" in str(caught.value.hint)
