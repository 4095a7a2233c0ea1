"""Probes of the real host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.host import facts
from engine.host.libraries import libraries_of
from engine.host.namespaces import probe_namespaces
from engine.host.probe import probe_accel
from engine.host.programs import program_version, qemu_binary, qemu_name
from engine.model import Accel
from engine.process import Command, run


def test_facts_are_plausible(tmp_path: Path) -> None:
    assert facts.oci_platform() in ("linux/amd64", "linux/arm64")
    assert facts.cpu_count() >= 1
    assert facts.memory_mib() > 256
    assert facts.boot_id() == facts.boot_id()
    assert len(facts.boot_id()) >= 32
    assert facts.free_bytes(tmp_path / "not" / "there") == facts.free_bytes(tmp_path)


@pytest.mark.vm
async def test_probe_of_emulation_runs_the_guest() -> None:
    verdict = await probe_accel(Accel.TCG)
    assert verdict.usable, verdict.reason


@pytest.mark.vm
async def test_probe_of_kvm_comes_to_a_verdict_in_time() -> None:
    verdict = await probe_accel(Accel.KVM, timeout_s=3)
    assert verdict.reason


@pytest.mark.vm
async def test_probe_of_an_accelerator_of_another_system_says_what_qemu_said() -> None:
    if sys.platform == "darwin":
        pytest.skip("it is of this system")
    verdict = await probe_accel(Accel.HVF)
    assert not verdict.usable
    assert "hvf" in verdict.reason


@pytest.mark.skipif(sys.platform != "linux", reason="ELF files only")
def test_libraries_of_qemu_are_those_the_loader_says() -> None:
    listed = subprocess.run(["ldd", qemu_binary()], capture_output=True, text=True, check=True).stdout
    wanted = {Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}
    found = libraries_of(qemu_binary())
    assert wanted <= {Path(path).resolve() for path in found}
    assert qemu_binary() in found


@pytest.mark.skipif(sys.platform != "linux", reason="ELF files only")
async def test_program_shown_only_its_libraries_runs() -> None:
    paths = libraries_of(qemu_binary())
    binds = tuple(word for path in paths for word in ("--ro-bind", path, path))
    completed = await run(Command(argv=("bwrap", "--unshare-all", *binds, qemu_binary(), "--version")))
    assert completed.stdout.startswith(b"QEMU emulator")


def test_libraries_of_a_script_are_itself(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert libraries_of(str(script)) == (str(script),)


async def test_program_versions_are_read() -> None:
    version = await program_version(qemu_name())
    assert version is not None
    assert version >= (8, 2)
    mke2fs = await program_version("mke2fs")
    assert mke2fs is not None
    assert mke2fs >= (1, 47, 1)


async def test_namespaces_are_tried_for_real() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap")
    support = await probe_namespaces()
    assert support.usable or support.reason
