"""The gate: machine code for two processors, run on the one we have."""

import hashlib
import os
import platform
import struct
import subprocess
from pathlib import Path

import pytest

from engine.jailer.gate import FAILED_STATUS, LOAD_ADDRESS, PATH_ADDRESS, Bytes, Previous, Step, build_gate

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the steps are numbered for x86-64")
WRITE, OPEN, NO_SUCH_CALL = 1, 2, 9999


def run_gate(tmp_path: Path, *steps: Step, program: str = "/usr/bin/env") -> subprocess.CompletedProcess[str]:
    gate = tmp_path / "gate"
    gate.write_bytes(build_gate(program, steps, arch="x86_64"))
    gate.chmod(0o700)
    return subprocess.run(
        (str(gate), "env", "printenv", "A"), env={"A": "b c"}, capture_output=True, text=True, check=False
    )


@on_x86
def test_gate_becomes_the_program_with_its_arguments_and_environment(tmp_path: Path) -> None:
    done = run_gate(tmp_path)
    assert (done.stdout, done.returncode) == ("b c\n", 0)


@on_x86
def test_gate_carries_out_its_steps_in_order(tmp_path: Path) -> None:
    hello = Step(name="write", number=WRITE, arguments=(1, Bytes(b"hello "), 6))
    done = run_gate(tmp_path, hello, hello)
    assert done.stdout == "hello hello b c\n"


@on_x86
def test_gate_hands_the_result_of_one_step_to_the_next(tmp_path: Path) -> None:
    target = tmp_path / "written"
    path = Bytes(os.fsencode(target) + b"\0")
    run_gate(
        tmp_path,
        Step(name="open", number=OPEN, arguments=(path, os.O_WRONLY | os.O_CREAT, 0o600)),
        Step(name="write", number=WRITE, arguments=(Previous(), Bytes(b"there"), 5)),
    )
    assert target.read_text() == "there"


@on_x86
def test_gate_whose_step_is_refused_names_it_and_starts_nothing(tmp_path: Path) -> None:
    done = run_gate(tmp_path, Step(name="landlock_restrict_self", number=NO_SUCH_CALL))
    assert done.returncode == FAILED_STATUS
    assert done.stdout == ""
    assert done.stderr == "the jail could not be closed: landlock_restrict_self was refused\n"


@on_x86
def test_gate_goes_on_after_a_step_that_may_fail(tmp_path: Path) -> None:
    done = run_gate(tmp_path, Step(name="keyctl", number=NO_SUCH_CALL, required=False))
    assert done.stdout == "b c\n"


@on_x86
def test_gate_whose_program_is_not_there_says_so(tmp_path: Path) -> None:
    assert run_gate(tmp_path, program="/nothing").stderr.endswith("execve was refused\n")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_gate_has_the_program_s_path_at_the_one_address_the_filter_knows(arch: str) -> None:
    content = build_gate("/bin/program", (), arch=arch)
    assert content[PATH_ADDRESS - LOAD_ADDRESS :].startswith(b"/bin/program\0")


def test_gate_for_aarch64_is_the_code_that_was_read_through_a_disassembler() -> None:
    """capstone 5: movz x0, #38; movz x1, #1; movz x8, #167; svc #0; tbz x0, #63; … ldr x9, [sp]; add x1, sp, #16;
    add x2, x1, x9, lsl #3; …"""
    content = build_gate("/bin/p", (Step(name="prctl", number=167, arguments=(38, 1)),), arch="aarch64")
    entry = struct.unpack_from("<Q", content, 24)[0] - LOAD_ADDRESS
    words = struct.unpack_from("<4I", content, entry)
    assert words == (0xD28004C0, 0xD2800021, 0xD28014E8, 0xD4000001)
    digest = hashlib.sha256(content).hexdigest()
    assert digest[:16] == "158a220dcc486c7c"
