"""Profiles made into the kernel's programs by libseccomp, and kept by content: the only place that talks to it.

A program tells two kinds of calls apart: those that libseccomp knows and a profile leaves out get the profile's default, and
those newer than libseccomp get ENOSYS, as from a kernel without them, so that libraries fall back on what is.
"""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UnsupportedError
from engine.fsutil import write_atomic
from engine.seccomp.complement import complement
from engine.seccomp.rules import NO_SUCH_CALL, Action, Comparison, Condition, Profile, Rule, Verdict

if TYPE_CHECKING:
    import pyseccomp

FILTER_FORMAT = 2
INSTRUCTION_BYTES = 8  # struct sock_filter (linux/filter.h)
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
COMPAT = {"x86_64": "x86", "aarch64": "arm"}
"""Whose programs a processor runs besides its own."""
_BITS = {"x86_64": 64, "aarch64": 64, "x86": 32, "arm": 32}
_SEARCHED = 2
"""CTL_OPTIMIZE: a binary tree instead of a list (seccomp_attr_set(3))."""
_NUMBERS_END = 1024
"""System call numbers end below it on every processor here; Linux has some 470."""
_SPREAD = frozenset({"ipc", "socketcall"})
"""Calls of old processors that stand for many; libseccomp fills them in from the rules for those."""


def load_program(profile: Profile, arch: str, directory: Path, *, compat: bool) -> bytes:
    """As `compile_profile`, but from `directory` when it is there, and kept there. Blocks."""
    document = repr((FILTER_FORMAT, arch, compat, profile))
    path = directory / f"{profile.name}-{hashlib.sha256(document.encode()).hexdigest()[:16]}.bpf"
    try:
        program = path.read_bytes()
    except OSError:
        program = b""
    if not is_program(program):
        program = compile_profile(profile, arch, compat=compat)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, program)
    return program


def is_program(content: bytes) -> bool:
    return 0 < len(content) <= MAX_INSTRUCTIONS * INSTRUCTION_BYTES and len(content) % INSTRUCTION_BYTES == 0


def compile_profile(profile: Profile, arch: str, *, compat: bool) -> bytes:
    """The program for a processor (`x86_64`, `aarch64`), with `compat` also for the older one whose programs it runs: an array
    of struct sock_filter (seccomp_export_bpf(3)). Takes some 50 ms.

    Raises UnsupportedError where libseccomp is missing, ValueError for a profile whose program the kernel would not take.
    """
    built = _new_filter(profile, arch)
    if compat:
        built.merge(_new_filter(profile, COMPAT[arch]))
    with tempfile.TemporaryFile() as file:
        built.export_bpf(file)
        file.seek(0)
        program = file.read()
    if not is_program(program):
        instructions = len(program) // INSTRUCTION_BYTES
        raise ValueError(f"{instructions} instructions are more than the kernel's {MAX_INSTRUCTIONS}")
    return program


def syscall_number(name: str, arch: str) -> int | None:
    """None for a call that libseccomp or the processor does not know."""
    library = _libseccomp()
    number = library.resolve_syscall(_token(arch), name)
    return number if number >= 0 else None


def known_syscalls(arch: str) -> dict[str, int]:
    """The calls of a processor that libseccomp knows, with their numbers."""
    library, token = _libseccomp(), _token(arch)
    found = {}
    for number in range(_NUMBERS_END):
        try:
            found[library.resolve_syscall(token, number).decode()] = number
        except ValueError:
            continue
    return found


def _new_filter(profile: Profile, arch: str) -> pyseccomp.SyscallFilter:
    library = _libseccomp()
    default = profile.default if profile.default.action.permissive else NO_SUCH_CALL
    built = library.SyscallFilter(_number(default))
    built.set_attr(library.Attr.CTL_OPTIMIZE, _SEARCHED)
    built.set_attr(library.Attr.ACT_BADARCH, _number(profile.foreign))
    if _token(arch) != library.system_arch():
        built.add_arch(_token(arch))
        built.remove_arch(library.system_arch())
    for rule in _complete(profile, arch, default):
        if rule.verdict == default:
            continue
        for name in rule.names:
            number = library.resolve_syscall(library.Arch.NATIVE, name)
            if number != -1:
                _add(built, rule, number)
    return built


def _add(built: pyseccomp.SyscallFilter, rule: Rule, number: int) -> None:
    try:
        built.add_rule(_number(rule.verdict), number, *(_argument(one) for one in rule.conditions))
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise ValueError(
                f"libseccomp does not take a rule for {', '.join(rule.names)}: {error}"
            ) from error


def _complete(profile: Profile, arch: str, default: Verdict) -> Iterator[Rule]:
    """The profile's rules, and its default as rules for all that libseccomp knows, where that is not the program's default."""
    yield from profile.rules
    if profile.default == default:
        return
    settled = {name for rule in profile.rules if not rule.conditions for name in rule.names}
    conditions: dict[str, list[tuple[Condition, ...]]] = {}
    for rule in profile.rules:
        for name in rule.names:
            if name not in settled:
                conditions.setdefault(name, []).append(rule.conditions)
    left_out = [name for name in known_syscalls(arch) if name not in settled | conditions.keys() | _SPREAD]
    yield Rule(names=tuple(left_out), verdict=profile.default)
    for name, alternatives in conditions.items():
        for rest in _rest(name, alternatives, arch):
            yield Rule(names=(name,), verdict=profile.default, conditions=rest)


def _rest(name: str, alternatives: list[tuple[Condition, ...]], arch: str) -> Iterable[tuple[Condition, ...]]:
    try:
        return complement(alternatives, _BITS[arch])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _libseccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise UnsupportedError(
            f"a seccomp filter cannot be made: {error}",
            hint="install the package libseccomp2 (Fedora, Arch: libseccomp) and boxlite's dependency pyseccomp",
        ) from error
    return pyseccomp


def _token(arch: str) -> int:
    return int(getattr(_libseccomp().Arch, arch.upper()))


def _number(verdict: Verdict) -> int:
    library = _libseccomp()
    match verdict.action:
        case Action.ERRNO:
            return int(library.ERRNO(verdict.number))
        case Action.TRACE:
            return int(library.TRACE(verdict.number))
        case Action.ALLOW:
            return int(library.ALLOW)
        case Action.LOG:
            return int(library.LOG)
        case Action.TRAP:
            return int(library.TRAP)
        case Action.KILL_PROCESS:
            return int(library.KILL_PROCESS)
        case Action.KILL_THREAD | Action.KILL:
            return int(library.KILL_THREAD)


def _argument(condition: Condition) -> object:
    library = _libseccomp()
    comparison = getattr(library, condition.comparison.removeprefix("SCMP_CMP_"))
    if condition.comparison is Comparison.MASKED_EQ:
        return library.Arg(condition.index, comparison, condition.value, condition.second)
    return library.Arg(condition.index, comparison, condition.value)
