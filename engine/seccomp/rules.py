"""What a profile of system calls says, as values; both the jail's and the container's are made of these."""

from __future__ import annotations

from enum import StrEnum

from engine.values import dataclass

EPERM, ENOSYS = 1, 38


class Action(StrEnum):
    """What happens to a system call (seccomp(2)); the values are those of profiles."""

    ALLOW = "SCMP_ACT_ALLOW"
    ERRNO = "SCMP_ACT_ERRNO"
    KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"
    KILL_THREAD = "SCMP_ACT_KILL_THREAD"
    KILL = "SCMP_ACT_KILL"
    TRAP = "SCMP_ACT_TRAP"
    TRACE = "SCMP_ACT_TRACE"
    LOG = "SCMP_ACT_LOG"

    @property
    def permissive(self) -> bool:
        """Does the call happen, or may it?"""
        return self in (Action.ALLOW, Action.LOG, Action.TRACE)


class Comparison(StrEnum):
    """Of unsigned numbers of 64 bits."""

    NE = "SCMP_CMP_NE"
    LT = "SCMP_CMP_LT"
    LE = "SCMP_CMP_LE"
    EQ = "SCMP_CMP_EQ"
    GE = "SCMP_CMP_GE"
    GT = "SCMP_CMP_GT"
    MASKED_EQ = "SCMP_CMP_MASKED_EQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An action with the number that goes with ERRNO and TRACE."""

    action: Action
    number: int = 0


ALLOWED = Verdict(action=Action.ALLOW)
DENIED = Verdict(action=Action.ERRNO, number=EPERM)
NO_SUCH_CALL = Verdict(action=Action.ERRNO, number=ENOSYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Compares argument `index` (0 to 5) with `value`. For MASKED_EQ `value` is the mask, `second` what is left of it."""

    index: int
    comparison: Comparison
    value: int
    second: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What happens to some system calls when all conditions hold, each on another argument. A rule without conditions goes
    before those with; of two without, the first decides."""

    names: tuple[str, ...]
    verdict: Verdict
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`default` is for calls that no rule fits, `foreign` for programs of another processor than the profile is made for.
    `name` is for people."""

    default: Verdict
    rules: tuple[Rule, ...]
    foreign: Verdict = NO_SUCH_CALL
    name: str = "container"
