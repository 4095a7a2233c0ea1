"""Filters, run by an interpreter of classic BPF: what Docker's default allows and denies, and what a profile file says."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError, UnsupportedError
from engine.model import DOCKER_CAPABILITIES
from engine.runtime.capabilities import ALL_CAPABILITIES
from engine.seccomp.complement import complement
from engine.seccomp.container import _OPENING, committed_path, container_filter
from engine.seccomp.docker import ALLOWED_CALLS, OPENED_BY, default_profile
from engine.seccomp.profile import parse_profile
from engine.seccomp.program import COMPAT, compile_profile, known_syscalls, load_program, syscall_number
from engine.seccomp.rules import Action, Comparison, Condition, Profile, Rule, Verdict

AUDIT_ARCH = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
"""linux/audit.h."""
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050001, 0x00050026


def run(program: bytes, arch: str, number: int, *arguments: int) -> int:
    """What the kernel would return for a call (seccomp(2), struct seccomp_data)."""
    padded = (*arguments, *([0] * (6 - len(arguments))))
    call = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT_ARCH.get(arch, 0), 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        code, true, false, value = instructions[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", call, value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15 | 0x25 | 0x35:
                holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[
                    code
                ]
                at += true if holds else false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {code:#x}")


def number(name: str, arch: str = "x86_64") -> int:
    found = syscall_number(name, arch)
    assert found is not None, name
    return found


def made(profile: Profile, arch: str = "x86_64") -> bytes:
    return compile_profile(profile, arch, compat=True)


DEFAULT = committed_path("x86_64").read_bytes()
SPECIAL = {"personality", "socket", "clone", "clone3"}
ARGUMENTS = (0, 1, 2, 8, 17, 38, 40, 46, 0x11, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF, 0x10000000, 0x3D0F00)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_committed_filter_decides_as_the_profile_made_anew(arch: str) -> None:
    committed, fresh = committed_path(arch).read_bytes(), made(default_profile(DOCKER_CAPABILITIES), arch)
    for one in (arch, COMPAT[arch]):
        numbers = known_syscalls(one)
        for name, found in numbers.items():
            # A newer library knows more calls than the one that made the committed filter: for that they do not exist.
            decisions = [run(program, one, found) for program in (committed, fresh)]
            assert decisions[0] == decisions[1] or (decisions[0] == ENOSYS and found > 450), (name, one)
        for name in SPECIAL:
            for argument in ARGUMENTS:
                assert len({run(p, one, numbers[name], argument) for p in (committed, fresh)}) == 1


def test_usual_container_takes_the_committed_filter(tmp_path: Path) -> None:
    found = container_filter("", DOCKER_CAPABILITIES, privileged=False, arch="x86_64", cache_dir=tmp_path)
    assert found == DEFAULT and list(tmp_path.iterdir()) == []


def test_program_is_kept_by_content_and_made_again_when_broken(tmp_path: Path) -> None:
    profile = Profile(default=Verdict(action=Action.ALLOW), rules=())
    program = load_program(profile, "x86_64", tmp_path, compat=True)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"short")
    assert load_program(profile, "x86_64", tmp_path, compat=True) == program == kept.read_bytes()


def test_opening_capabilities_are_those_of_the_table() -> None:
    assert set(OPENED_BY) == _OPENING


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_default_allows_exactly_what_it_names_on_every_processor(arch: str) -> None:
    program = committed_path(arch).read_bytes()
    allowed = {*ALLOWED_CALLS.split(), "chroot"}
    for one in (arch, COMPAT[arch]):
        for name, found in known_syscalls(one).items():
            if name not in SPECIAL and found <= 450:
                expected = ALLOWED if name in allowed else EPERM
                assert run(program, one, found) == expected, (name, one)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("socket", (1,), ALLOWED), ("socket", (2,), ALLOWED), ("socket", (17,), ALLOWED), ("socket", (38,), EPERM),
        ("socket", (40,), EPERM), ("socket", (46,), EPERM), ("socket", (1 << 32,), EPERM),
        ("personality", (0,), ALLOWED), ("personality", (0xFFFFFFFF,), ALLOWED), ("personality", (0x40000,), EPERM),
        ("clone", (0x11,), ALLOWED), ("clone", (0x10000000,), EPERM), ("clone", (0x20000 | 0x11,), EPERM),
        ("clone", (0x3D0F00,), ALLOWED), ("clone3", (0,), ENOSYS),
    ],
)  # fmt: skip
def test_default_looks_at_arguments(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert run(DEFAULT, "x86_64", number(name), *arguments) == expected


@pytest.mark.parametrize("unknown", [600, 1000, 0x40000000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_default_has_no_calls_newer_than_the_library(unknown: int) -> None:
    assert run(DEFAULT, "x86_64", unknown) == run(DEFAULT, "x86", unknown) == ENOSYS


def test_program_for_another_processor_has_no_calls() -> None:
    assert run(DEFAULT, "none", 0) == ENOSYS


@pytest.mark.parametrize("capability", sorted(OPENED_BY))
def test_capability_opens_its_calls(capability: str, tmp_path: Path) -> None:
    held = {*DOCKER_CAPABILITIES, capability}
    program = container_filter("", held, privileged=False, arch="x86_64", cache_dir=tmp_path)
    for name in OPENED_BY[capability]:
        found = syscall_number(name, "x86_64")
        if found is not None:
            assert run(program, "x86_64", found) == ALLOWED, name
    everything = {"clone": 0x10000000, "clone3": 0}
    for name, flags in everything.items():
        assert (run(program, "x86_64", number(name), flags) == ALLOWED) is (capability == "SYS_ADMIN")


def test_all_capabilities_still_leave_what_is_never_allowed(tmp_path: Path) -> None:
    program = container_filter("", ALL_CAPABILITIES, privileged=False, arch="x86_64", cache_dir=tmp_path)
    assert run(program, "x86_64", number("keyctl")) == EPERM
    assert run(program, "x86_64", number("mount")) == ALLOWED


def test_unconfined_and_privileged_have_no_filter_unless_asked_for(tmp_path: Path) -> None:
    def found(seccomp: str, *, privileged: bool) -> bytes:
        return container_filter(seccomp, (), privileged=privileged, arch="x86_64", cache_dir=tmp_path)

    assert found("unconfined", privileged=False) == found("", privileged=True) == b""
    assert found(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}), privileged=True) != b""


U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]))
HOLDS = {
    Comparison.EQ: lambda a, v, _: a == v, Comparison.NE: lambda a, v, _: a != v, Comparison.LT: lambda a, v, _: a < v,
    Comparison.LE: lambda a, v, _: a <= v, Comparison.GT: lambda a, v, _: a > v, Comparison.GE: lambda a, v, _: a >= v,
    Comparison.MASKED_EQ: lambda a, v, s: a & v == s,
}  # fmt: skip


CONDITIONS = st.builds(
    lambda comparison, value, second: (comparison, value, second & value),
    st.sampled_from(Comparison),
    U64,
    U64,
)


@settings(deadline=None, max_examples=60)
@given(
    alternatives=st.lists(
        st.dictionaries(st.integers(0, 5), CONDITIONS, min_size=1, max_size=2), min_size=1, max_size=3
    ),
    arguments=st.lists(st.tuples(*[U64] * 6), min_size=1, max_size=20),
    near=st.integers(-1, 1),
)
def test_conditions_decide_on_arguments_of_64_bits_and_the_default_on_all_others(
    alternatives: list[dict[int, tuple[Comparison, int, int]]], arguments: list[tuple[int, ...]], near: int
) -> None:
    spelled = [
        tuple(
            Condition(index=index, comparison=comparison, value=value, second=second)
            for index, (comparison, value, second) in one.items()
        )
        for one in alternatives
    ]
    verdict = Verdict(action=Action.ALLOW)
    rules = [Rule(names=("read",), verdict=verdict, conditions=conditions) for conditions in spelled]
    default = Verdict(action=Action.ERRNO, number=1)
    try:
        program = compile_profile(Profile(default=default, rules=tuple(rules)), "x86_64", compat=False)
    except ValueError:
        return  # too many to be spelled out
    edges = [
        tuple((one[i][1] + near) % 2**64 if i in one else a[i] for i in range(6))
        for one in alternatives
        for a in arguments
    ]
    for values in (*arguments, *edges):
        holds = any(
            all(HOLDS[comparison](values[i], value, second) for i, (comparison, value, second) in one.items())
            for one in alternatives
        )
        decided = run(program, "x86_64", number("read"), *values)
        if (
            holds and len(alternatives) > 1
        ):  # libseccomp 2.5.4 loses some where alternatives overlap: docs/limits.md
            assert decided in (ALLOWED, ENOSYS)
        else:
            assert decided == (ALLOWED if holds else EPERM)
        assert run(program, "x86_64", number("write"), *values) == EPERM
        assert run(program, "x86_64", 1000, *values) == ENOSYS


def test_complement_of_too_many_conditions_is_refused() -> None:
    alternatives = [(Condition(index=0, comparison=Comparison.EQ, value=value**7),) for value in range(99)]
    with pytest.raises(ValueError, match="too many"):
        complement(alternatives, 64)


DOCKER_FILE = {
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 42},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["umount2"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
    ],
}  # fmt: skip


def test_profile_file_in_dockers_format_is_taken_at_its_word() -> None:
    program = made(parse_profile(json.dumps(DOCKER_FILE), arch="x86_64", capabilities=()))

    def outcome(name: str, *arguments: int) -> int:
        return run(program, "x86_64", number(name), *arguments)

    assert outcome("read") == ALLOWED and outcome("open") == 0x0005000D
    assert outcome("chmod") == 0x0005002A and outcome("mount") == 0x0005000D and outcome("umount2") == ALLOWED
    assert outcome("arch_prctl") == 0x0005000D
    assert outcome("kill", 1, 9) == outcome("kill", 1, 15) == ALLOWED and outcome("kill", 1, 1) == 0x0005000D


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"), ("[]", "object"), ('{"defaultAction": "ALLOW"}', "defaultAction"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}', "names"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "no"}]}', r"syscalls\[0\]"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", '
         '"args": [{"index": 7, "op": "SCMP_CMP_EQ"}]}]}', "range"),
        ("[" * 100000, "JSON"),
    ],
)  # fmt: skip
def test_profile_file_that_is_wrong_is_refused_with_the_place(text: str, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        parse_profile(text, arch="x86_64", capabilities=())


def test_profile_that_asks_a_program_on_the_host_is_unsupported() -> None:
    text = (
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}'
    )
    with pytest.raises(UnsupportedError, match="NOTIFY"):
        parse_profile(text, arch="x86_64", capabilities=())
