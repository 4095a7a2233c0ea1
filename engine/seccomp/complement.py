"""When none of several conditions holds, as conditions.

libseccomp has one default for calls that it does not know and for those whose conditions fail, and a rule without conditions
wipes out those with. To tell the two apart, the rest of a call is spelled out: every condition is a set of patterns (bits that
are fixed, and how), patterns can be taken from one another, and what remains overlaps with nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from engine.seccomp.rules import Comparison, Condition

MAX_PATTERNS = 1024
ARGUMENTS = 6

Bits = tuple[int, int]
"""A mask, and the value below it."""
Pattern = tuple[Bits, ...]
"""One for each argument."""

_SIMPLE = {
    Comparison.EQ: Comparison.NE, Comparison.NE: Comparison.EQ, Comparison.LT: Comparison.GE,
    Comparison.GE: Comparison.LT, Comparison.LE: Comparison.GT, Comparison.GT: Comparison.LE,
}  # fmt: skip
_ANYTHING: Pattern = ((0, 0),) * ARGUMENTS


def complement(alternatives: Sequence[Sequence[Condition]], width: int) -> list[tuple[Condition, ...]]:
    """Alternatives, one of which holds exactly when none of these does, for arguments of `width` bits. Raises ValueError when
    they are too many to be spelled out."""
    if len(alternatives) == 1 and len(alternatives[0]) == 1:
        (condition,) = alternatives[0]
        opposite = _SIMPLE.get(condition.comparison)
        if opposite is not None:
            return [(Condition(index=condition.index, comparison=opposite, value=condition.value),)]
    rest = [_ANYTHING]
    for conditions in alternatives:
        for taken in _patterns(conditions, width):
            rest = [left for pattern in rest for left in _without(pattern, taken)]
            if len(rest) > MAX_PATTERNS:
                raise ValueError("the conditions of one system call are too many")
    return [_conditions(pattern) for pattern in rest]


def _patterns(conditions: Iterable[Condition], width: int) -> Iterator[Pattern]:
    for chosen in product(*([(c.index, bits) for bits in _bits(c, width)] for c in conditions)):
        by_index = dict(chosen)
        yield tuple(by_index.get(index, (0, 0)) for index in range(ARGUMENTS))


def _bits(condition: Condition, width: int) -> Iterator[Bits]:
    """What fulfils a condition. As libseccomp does, higher bits are left out where arguments have none."""
    full = (1 << width) - 1
    value = condition.value & full
    match condition.comparison:
        case Comparison.MASKED_EQ:
            yield value, condition.second & value
        case Comparison.NE:
            yield from ((1 << bit, ~value & 1 << bit) for bit in range(width))
        case Comparison.LT | Comparison.LE:
            yield from _beside(value, width, bit=1)
        case Comparison.GT | Comparison.GE:
            yield from _beside(value, width, bit=0)
    if condition.comparison in (Comparison.EQ, Comparison.LE, Comparison.GE):
        yield full, value


def _beside(value: int, width: int, *, bit: int) -> Iterator[Bits]:
    """Numbers that are equal to `value` down to a place where it has `bit` and they have not: smaller for 1, greater for 0."""
    full = (1 << width) - 1
    for place in range(width):
        if value >> place & 1 == bit:
            mask = full >> place << place
            yield mask, (value ^ 1 << place) & mask


def _without(pattern: Pattern, taken: Pattern) -> Iterator[Pattern]:
    """The parts of a pattern outside another; they do not overlap."""
    if any((v ^ tv) & m & tm for (m, v), (tm, tv) in zip(pattern, taken, strict=True)):
        yield pattern
        return
    for index, (mask, value) in enumerate(taken):
        for place in reversed(range(mask.bit_length())):
            bit = 1 << place
            fixed, held = pattern[index]
            if mask & bit and not fixed & bit:
                before, after = pattern[:index], pattern[index + 1 :]
                yield (*before, (fixed | bit, held | (~value & bit)), *after)
                pattern = (*before, (fixed | bit, held | (value & bit)), *after)


def _conditions(pattern: Pattern) -> tuple[Condition, ...]:
    return tuple(
        Condition(index=index, comparison=Comparison.MASKED_EQ, value=mask, second=value)
        for index, (mask, value) in enumerate(pattern)
        if mask
    )
