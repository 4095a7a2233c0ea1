"""Flags written with a value."""

from __future__ import annotations

import pytest

from boxlite_cli.commands.run import COMMAND as RUN
from boxlite_cli.commands.stop import COMMAND as STOP
from boxlite_cli.flags import spell_out_flags


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("--rm=true alpine --rm=true", "--rm alpine --rm=true"),
        ("--rm=false -d=1 alpine", "-d alpine"),
        ("--sig-proxy=false alpine", "--no-sig-proxy alpine"),
        ("--name --rm=true alpine", "--name --rm=true alpine"),
        ("--name=--rm --tty=TRUE alpine", "--name=--rm --tty alpine"),
        ("-itw --rm=true --rm=true alpine", "-itw --rm=true --rm alpine"),
        ("-itw/ --rm=true alpine", "-itw/ --rm alpine"),
        ("--rm=maybe alpine", "--rm=maybe alpine"),
        ("-- --rm=true", "-- --rm=true"),
        ("--nope=true alpine", "--nope=true alpine"),
        ("- --rm=true", "- --rm=true"),
    ],
)
def test_flags_before_the_first_word_are_spelled_out(words: str, spelled: str) -> None:
    assert spell_out_flags(words.split(), RUN.params, interspersed=False) == spelled.split()


def test_flags_after_words_are_spelled_out_where_they_may_stand() -> None:
    assert spell_out_flags(["web", "--debug=true", "-t", "5"], STOP.params, interspersed=True) == [
        "web", "--debug", "-t", "5",
    ]  # fmt: skip
