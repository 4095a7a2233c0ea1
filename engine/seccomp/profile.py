"""Reading a seccomp profile in the format of Docker's `--security-opt seccomp=FILE`.

Source: the OCI runtime specification (config-linux.md, "Seccomp") and Docker's documentation of its profiles, which adds
`names`, `includes`, `excludes` and `archMap`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from engine.errors import InvalidArgumentError, UnsupportedError
from engine.seccomp.rules import EPERM, Action, Comparison, Condition, Profile, Rule, Verdict

MAX_PROFILE_BYTES = 1024 * 1024
_U64 = 2**64


def parse_profile(text: str, *, arch: str, capabilities: Iterable[str]) -> Profile:
    """The profile in `text` (JSON) as it applies to a processor (`x86_64`, `aarch64`) and to a container with these
    capabilities (no CAP_). Raises InvalidArgumentError naming the part that is wrong, UnsupportedError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"the seccomp profile is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("syscalls", []), list):
        raise InvalidArgumentError("the seccomp profile is not an object with a list of syscalls")
    held = frozenset(f"CAP_{name}" for name in capabilities)
    default = _verdict(document, "defaultAction", "defaultErrnoRet", "the profile")
    rules: list[Rule] = []
    for number, entry in enumerate(document.get("syscalls", [])):
        where = f"syscalls[{number}]"
        if not isinstance(entry, dict):
            raise InvalidArgumentError(f"seccomp profile, {where}: not an object")
        if _applies(entry, arch, held, where):
            rules += _rules(entry, where)
    return Profile(default=default, rules=tuple(rules))


def _verdict(entry: Mapping[str, Any], key: str, errno_key: str, where: str) -> Verdict:
    word = entry.get(key)
    if word == "SCMP_ACT_NOTIFY":
        raise UnsupportedError(
            f"seccomp profile, {where}: {word} needs a program on the host that decides, which a box has none of"
        )
    try:
        action = Action(str(word))
    except ValueError:
        raise InvalidArgumentError(f"seccomp profile, {where}: {key} {word!r} is no action") from None
    number = entry.get(errno_key)
    number = EPERM if number is None and action in (Action.ERRNO, Action.TRACE) else number or 0
    if type(number) is not int or not 0 <= number <= 0xFFFF:
        raise InvalidArgumentError(
            f"seccomp profile, {where}: {errno_key} {number!r} is not between 0 and 65535"
        )
    return Verdict(action=action, number=number)


_ARCH_WORDS = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}


def _applies(entry: Mapping[str, Any], arch: str, held: frozenset[str], where: str) -> bool:
    includes, excludes = _mapping(entry, "includes", where), _mapping(entry, "excludes", where)
    words = frozenset(_ARCH_WORDS.get(arch, (arch,)))
    wanted_caps, unwanted_caps = _words(includes, "caps", where), _words(excludes, "caps", where)
    wanted_arches, unwanted_arches = _words(includes, "arches", where), _words(excludes, "arches", where)
    # minKernel asks for kernels older than any that a machine has.
    return (
        held >= set(wanted_caps)
        and not held & set(unwanted_caps)
        and (not wanted_arches or bool(words & set(wanted_arches)))
        and not words & set(unwanted_arches)
    )


def _rules(entry: Mapping[str, Any], where: str) -> list[Rule]:
    name = entry.get("name")
    names = _words(entry, "names", where) or ((name,) if isinstance(name, str) else ())
    verdict = _verdict(entry, "action", "errnoRet", where)
    arguments = entry.get("args") or []
    if not names or not isinstance(arguments, list):
        raise InvalidArgumentError(f"seccomp profile, {where}: it needs names, and args that are a list")
    conditions = tuple(_condition(argument, where) for argument in arguments)
    # As the container runtimes do: several conditions on one argument are alternatives, else all must hold.
    if len({condition.index for condition in conditions}) < len(conditions):
        return [Rule(names=names, verdict=verdict, conditions=(condition,)) for condition in conditions]
    return [Rule(names=names, verdict=verdict, conditions=conditions)]


def _condition(argument: object, where: str) -> Condition:
    if not isinstance(argument, dict):
        raise InvalidArgumentError(f"seccomp profile, {where}: an argument is not an object")
    index, value, second = (argument.get(key, 0) for key in ("index", "value", "valueTwo"))
    if not all(type(number) is int for number in (index, value, second)) or not (
        0 <= index < 6 and 0 <= value < _U64 and 0 <= second < _U64
    ):
        raise InvalidArgumentError(f"seccomp profile, {where}: an argument's index or value is out of range")
    try:
        comparison = Comparison(str(argument.get("op")))
    except ValueError:
        raise InvalidArgumentError(
            f"seccomp profile, {where}: op {argument.get('op')!r} is no comparison"
        ) from None
    return Condition(index=index, comparison=comparison, value=value, second=second)


def _mapping(entry: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"seccomp profile, {where}: {key} is not an object")
    return found


def _words(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = entry.get(key) or []
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise InvalidArgumentError(f"seccomp profile, {where}: {key} is not a list of words")
    return tuple(found)
