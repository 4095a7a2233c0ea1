"""Programs of libseccomp, made shorter without deciding anything otherwise.

The kernel checks, converts and translates a filter for each process that takes one on, which costs by its length, and in an
emulated machine milliseconds. libseccomp writes some instructions for each rule, though neighbours are mostly decided alike.
So a program is run for every range of numbers and arguments that it tells apart, and what it says is written down by ranges.

Sources: linux/filter.h, linux/seccomp.h (struct seccomp_data).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

INSTRUCTION = struct.Struct("<HBBI")
LOAD, AND, RETURN, JUMP = 0x20, 0x54, 0x06, 0x05
IF_EQUAL, IF_GREATER, IF_AT_LEAST = 0x15, 0x25, 0x35
_COMPARISONS = (IF_EQUAL, IF_GREATER, IF_AT_LEAST)
_WORD = 0xFFFF_FFFF
_FARTHEST = 0xFF
"""That a conditional jump goes."""
_MOST_STEPS = 400_000
"""In finding out what a program says: a profile's own takes a second at most, Docker's a fifth of that."""


class _NotOurs(Exception):  # noqa: N818  no error: the program stays as it is
    """Instructions that libseccomp does not write, or more to find out than it is worth."""


@dataclass(frozen=True, slots=True)
class _Ranges:
    """A decision by the word of struct seccomp_data at `offset`: each outcome from its first value up to the next one's."""

    offset: int
    outcomes: tuple[tuple[int, _Outcome], ...]


@dataclass(frozen=True, slots=True)
class _Masked:
    """A decision by some bits of a word that no ranges tell apart."""

    part: tuple[int, int]
    value: int
    equal: _Outcome
    other: _Outcome


_Outcome = int | _Ranges | _Masked
"""A verdict, or what else has to be looked at."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the old program: what comes next, the offset and mask of what is in the accumulator, and what is known of the
    words looked at: ranges (offset, first, last), and whether bits of them equal a value."""

    at: int = 0
    part: tuple[int, int] = (-1, 0)
    ranges: tuple[tuple[int, int, int], ...] = ()
    bits: tuple[tuple[tuple[int, int], int, bool], ...] = ()


def shorten(program: bytes) -> bytes:
    """A program that decides every call as this one does; the same one where none is found that is shorter."""
    old = list(INSTRUCTION.iter_unpack(program))
    try:
        outcome = _Reading(old).outcome(_Place())
    except (_NotOurs, IndexError):
        return program
    new = _Backwards()
    new.write(outcome)
    return min(program, new.program(), key=len)


@dataclass(slots=True)
class _Reading:
    """Finds out what a program decides."""

    old: list[tuple[int, int, int, int]]
    _steps: int = 0
    _edges: dict[int, list[int]] = field(default_factory=dict)

    def outcome(self, place: _Place) -> _Outcome:
        at, part = place.at, place.part
        while True:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise _NotOurs
            code, true, false, value = self.old[at]
            at += 1
            if code == RETURN:
                return value
            if code == JUMP:
                at += value
            elif code == LOAD:
                part = value, _WORD
            elif code == AND:
                part = part[0], part[1] & value
            else:
                holds = _holds(place, part, code, value)
                if holds is None:
                    return self._split(_Place(at - 1, part, place.ranges, place.bits))
                at += true if holds else false

    def _split(self, place: _Place) -> _Outcome:
        """At a comparison that is still open."""
        offset, mask = place.part
        if not _is_prefix(mask) or any(known == offset for known, _, _ in place.ranges):
            return self._split_bits(place)
        if offset not in self._edges:
            self._edges[offset] = self._edges_of(offset)
        edges = self._edges[offset]
        outcomes: list[tuple[int, _Outcome]] = []
        for first, following in zip(edges, [*edges[1:], _WORD + 1], strict=True):
            ranges = (*place.ranges, (offset, first, following - 1))
            found = self.outcome(_Place(place.at, place.part, ranges, place.bits))
            if not outcomes or outcomes[-1][1] != found:
                outcomes.append((first, found))
        return outcomes[0][1] if len(outcomes) == 1 else _Ranges(offset, tuple(outcomes))

    def _split_bits(self, place: _Place) -> _Outcome:
        code, _, _, value = self.old[place.at]
        if code != IF_EQUAL:
            raise _NotOurs
        equal, other = (
            self.outcome(
                _Place(place.at, place.part, place.ranges, (*place.bits, (place.part, value, found)))
            )
            for found in (True, False)
        )
        return equal if equal == other else _Masked(place.part, value, equal, other)

    def _edges_of(self, offset: int) -> list[int]:
        """Where ranges of this word begin so that no comparison tells two values of one apart, those by bits aside."""
        edges = {0}
        parts: list[set[tuple[int, int]]] = [set() for _ in self.old]
        for at, (code, true, false, value) in enumerate(self.old):
            held = parts[at]
            if code in _COMPARISONS:
                for _, mask in (part for part in held if part[0] == offset and _is_prefix(part[1])):
                    edges |= {value, value + 1, value + (~mask & _WORD) + 1}
                following = (at + 1 + true, at + 1 + false)
            elif code == JUMP:
                following = (at + 1 + value, at + 1 + value)
            elif code == RETURN:
                continue
            else:
                held = {(value, _WORD)} if code == LOAD else {(known, mask & value) for known, mask in held}
                following = (at + 1, at + 1)
            for next_one in following:
                parts[next_one] |= held
        return sorted(edge for edge in edges if edge <= _WORD)


def _holds(place: _Place, part: tuple[int, int], code: int, value: int) -> bool | None:
    """None where it depends on what is not known."""
    offset, mask = part
    if code not in _COMPARISONS:
        raise _NotOurs
    if not mask:
        return _compare(code, 0, value)
    for known, first, last in place.ranges:
        if known == offset and (_is_prefix(mask) or first == last):
            found = {_compare(code, end & mask, value) for end in (first, last)}
            if len(found) == 1:
                return found.pop()
    for bits, known_value, is_equal in place.bits:
        if code == IF_EQUAL and bits == part and (is_equal or known_value == value):
            return is_equal and known_value == value
    return None


def _compare(code: int, held: int, value: int) -> bool:
    if code == IF_EQUAL:
        return held == value
    return held > value if code == IF_GREATER else held >= value


def _is_prefix(mask: int) -> bool:
    """Are its bits the highest ones? Who compares them asks for a range."""
    return not (~mask & _WORD) & ((~mask & _WORD) + 1)


@dataclass(slots=True)
class _Backwards:
    """A program that is written from its end, so that all that is jumped to is there already. A place is told by how many
    instructions there are from it to the end."""

    _reversed: list[bytes] = field(default_factory=list)
    _written: dict[_Outcome, int] = field(default_factory=dict)

    def program(self) -> bytes:
        return b"".join(reversed(self._reversed))

    def write(self, outcome: _Outcome) -> int:
        """Write what decides so, if it is not there, and tell where."""
        place = self._written.get(outcome)
        if isinstance(outcome, int):
            if place is None or len(self._reversed) - place > _FARTHEST // 2:
                place = self._add(RETURN, outcome)
        elif place is None and isinstance(outcome, _Ranges):
            targets = [(first, self.write(one)) for first, one in outcome.outcomes]
            place = self._then(LOAD, outcome.offset, self._search(outcome, targets))
        elif place is None and isinstance(outcome, _Masked):
            equal, other = self.write(outcome.equal), self.write(outcome.other)
            place = self._branch(IF_EQUAL, outcome.value, equal, other)
            place = self._then(LOAD, outcome.part[0], self._then(AND, outcome.part[1], place))
        assert place is not None
        self._written[outcome] = place
        return place

    def _search(self, ranges: _Ranges, targets: Sequence[tuple[int, int]]) -> int:
        if len(targets) == 1:
            return targets[0][1]
        middle = len(targets) // 2
        high, low = self._search(ranges, targets[middle:]), self._search(ranges, targets[:middle])
        return self._branch(IF_AT_LEAST, targets[middle][0], high, low)

    def _then(self, code: int, value: int, following: int) -> int:
        if following != len(self._reversed):
            self._add(JUMP, len(self._reversed) - following)
        return self._add(code, value)

    def _branch(self, code: int, value: int, true: int, false: int) -> int:
        if len(self._reversed) - min(true, false) >= _FARTHEST:
            true, false = (self._add(JUMP, len(self._reversed) - place) for place in (true, false))
        return self._add(code, value, len(self._reversed) - true, len(self._reversed) - false)

    def _add(self, code: int, value: int, true: int = 0, false: int = 0) -> int:
        self._reversed.append(INSTRUCTION.pack(code, true, false, value))
        return len(self._reversed)
