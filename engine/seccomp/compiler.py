"""From a profile to a program for the kernel (seccomp(2), classic BPF: linux/filter.h).

    which processor? ─▶ binary search for the number, in ranges with the same outcome ─▶ outcome, or conditions

A program that compares number after number takes some three hundred steps for each call of the container, and for each entry
of the table that the kernel fills when the filter is set. Searching takes a dozen: that is what makes the filter cheap
in an emulated machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from engine.seccomp.profile import Action, Comparison, Condition, Profile, Rule, Verdict
from engine.seccomp.syscalls import AUDIT_ARCH, COMPAT, load_syscalls

_INSTRUCTION = struct.Struct("<HBBI")
_LOAD, _AND, _JUMP, _EQUAL, _GREATER, _GREATER_EQUAL, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_ENOSYS = 38
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""

_RETURNS = {
    Action.ALLOW: 0x7FFF0000, Action.LOG: 0x7FFC0000, Action.TRACE: 0x7FF00000, Action.ERRNO: 0x00050000,
    Action.TRAP: 0x00030000, Action.KILL_THREAD: 0x00000000, Action.KILL: 0x00000000,
    Action.KILL_PROCESS: 0x80000000,
}  # fmt: skip
_NO_SUCH_CALL = Verdict(action=Action.ERRNO, number=_ENOSYS)
_FOREIGN = Verdict(action=Action.KILL_PROCESS)

Outcome = tuple[Rule, ...]
"""The rules for one system call, up to the first without conditions."""


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers from `first` up to the next range's that have one outcome."""

    first: int
    outcome: Outcome


class _Program:
    """Instructions, written from first to last; a jump to what is not written yet is filled in later."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []

    def add(self, code: int, value: int, true: int = 0, false: int = 0) -> int:
        self.code.append((code, true, false, value))
        return len(self.code) - 1

    def finish(self, verdict: Verdict) -> None:
        self.add(_RETURN, _RETURNS[verdict.action] | verdict.number)

    def leap(self) -> int:
        """A jump of any length, to be landed."""
        return self.add(_JUMP, 0)

    def land(self, leaps: Iterable[int]) -> None:
        """Let these jumps lead to what comes next."""
        for leap in leaps:
            self.code[leap] = (_JUMP, 0, 0, len(self.code) - leap - 1)

    def to_bytes(self) -> bytes:
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in self.code)


def compile_profile(profile: Profile, arch: str) -> bytes:
    """The program for a processor (`x86_64`, `aarch64`) and the older one whose programs it runs: an array of struct
    sock_filter. Raises ValueError when it would be longer than the kernel takes."""
    program = _Program()
    program.add(_LOAD, _ARCH_OFFSET)
    for name in (arch, COMPAT[arch]):
        program.add(_EQUAL, AUDIT_ARCH[name], true=1)
        other = program.leap()
        program.add(_LOAD, _NUMBER_OFFSET)
        _search(program, _ranges(profile, name), profile.default)
        program.land([other])
    program.finish(_FOREIGN)
    if len(program.code) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(program.code)} instructions are more than the kernel's {MAX_INSTRUCTIONS}")
    return program.to_bytes()


def _ranges(profile: Profile, arch: str) -> list[_Range]:
    """Every number there can be, in ranges. Those past the end of the table are of calls that we do not know."""
    rules: dict[str, list[Rule]] = {}
    for rule in profile.rules:
        for name in rule.names:
            rules.setdefault(name, []).append(rule)
    numbers = {
        found.by_arch[arch]: _decisive(rules.get(name, []))
        for name, found in load_syscalls().items()
        if arch in found.by_arch
    }
    ranges = [_Range(0, ())]
    for number in sorted(numbers):
        if numbers[number] != ranges[-1].outcome:
            ranges.append(_Range(number, numbers[number]))
        if number + 1 not in numbers:
            ranges.append(_Range(number + 1, ()))
    last = ranges.pop()
    ranges.append(_Range(last.first, (Rule(names=(), verdict=_NO_SUCH_CALL),)))
    merged: list[_Range] = []
    for one in ranges:
        if merged and merged[-1].first == one.first:
            merged.pop()
        if not merged or merged[-1].outcome != one.outcome:
            merged.append(one)
    return merged


def _decisive(rules: list[Rule]) -> Outcome:
    """Reduced to conditions and verdict, so that equal outcomes are equal; up to the first that always holds."""
    found: list[Rule] = []
    for rule in sorted(rules, key=lambda rule: not rule.conditions):
        found.append(Rule(names=(), verdict=rule.verdict, conditions=rule.conditions))
        if not rule.conditions:
            break
    return tuple(found)


def _search(program: _Program, ranges: list[_Range], default: Verdict) -> None:
    """The number is in the accumulator."""
    if len(ranges) == 1:
        _decide(program, ranges[0].outcome, default)
        return
    middle = len(ranges) // 2
    program.add(_GREATER_EQUAL, ranges[middle].first, false=1)
    upper = program.leap()
    _search(program, ranges[:middle], default)
    program.land([upper])
    _search(program, ranges[middle:], default)


def _decide(program: _Program, outcome: Outcome, default: Verdict) -> None:
    for rule in outcome:
        misses = [miss for condition in rule.conditions for miss in _test(program, condition)]
        program.finish(rule.verdict)
        program.land(misses)
        if not rule.conditions:
            return
    program.finish(default)


def _test(program: _Program, condition: Condition) -> list[int]:
    """Instructions that go on when the condition holds; the jumps to be landed where it does not.

    Arguments have 64 bits, BPF 32: the upper half decides unless it is equal (both kinds of processors are little-endian).
    """
    offset = _ARGUMENTS_OFFSET + 8 * condition.index
    low, high = offset, offset + 4
    value = condition.second if condition.comparison is Comparison.MASKED_EQ else condition.value
    low_value, high_value = value & 0xFFFFFFFF, value >> 32
    match condition.comparison:
        case Comparison.EQ | Comparison.MASKED_EQ:
            misses = []
            for place, part, mask in (
                (high, high_value, condition.value >> 32),
                (low, low_value, condition.value),
            ):
                program.add(_LOAD, place)
                if condition.comparison is Comparison.MASKED_EQ:
                    program.add(_AND, mask & 0xFFFFFFFF)
                program.add(_EQUAL, part, true=1)
                misses.append(program.leap())
            return misses
        case Comparison.NE:
            program.add(_LOAD, high)
            program.add(_EQUAL, high_value, false=3)
            program.add(_LOAD, low)
            program.add(_EQUAL, low_value, false=1)
            return [program.leap()]
        case Comparison.GT | Comparison.GE:
            below, above = _order(program, high, high_value)
            code = _GREATER if condition.comparison is Comparison.GT else _GREATER_EQUAL
            program.add(_LOAD, low)
            program.add(code, low_value, true=1)
            misses = [below, program.leap()]
            program.land([above])
            return misses
        case Comparison.LT | Comparison.LE:
            below, above = _order(program, high, high_value)
            code = _GREATER_EQUAL if condition.comparison is Comparison.LT else _GREATER
            program.add(_LOAD, low)
            program.add(code, low_value, false=1)
            misses = [above, program.leap()]
            program.land([below])
            return misses


def _order(program: _Program, high: int, high_value: int) -> tuple[int, int]:
    """Goes on when the upper half is equal; the jumps for less and for greater."""
    program.add(_LOAD, high)
    program.add(_GREATER, high_value, false=1)
    above = program.leap()
    program.add(_EQUAL, high_value, true=1)
    below = program.leap()
    return below, above
