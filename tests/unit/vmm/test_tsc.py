from __future__ import annotations

import platform
from pathlib import Path

import pytest

from engine.model import Accel
from engine.vmm.tsc import clock_args, measure_tsc_khz

X86 = platform.machine() == "x86_64"


@pytest.mark.skipif(not X86, reason="the counter is an x86 thing")
def test_measure_tsc_khz_twice_agrees() -> None:
    first, second = measure_tsc_khz(), measure_tsc_khz()

    assert first is not None
    assert second is not None
    assert abs(first - second) / first < 1e-4
    assert 500_000 < first < 10_000_000


@pytest.mark.skipif(not X86 or not Path("/proc/cpuinfo").exists(), reason="the counter is an x86 thing")
def test_clock_args_only_for_emulation() -> None:
    assert clock_args(Accel.KVM) == ()
    argument, trusted = clock_args(Accel.TCG)
    assert argument.startswith("tsc_early_khz=")
    assert trusted == "tsc=reliable"
