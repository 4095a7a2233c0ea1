"""The host's time stamp counter, measured: the one clock an emulated x86-64 machine has.

Linux finds the counter's frequency by timing it against the PIT, which a busy host disturbs: the emulated processor is
not running when it should look. The kernel then calls its only clock unstable and waits for ticks that never come
("tsc: Unable to calibrate against PIT", and no more). QEMU's emulation hands the host's counter through, so the host can
tell the frequency: `tsc_early_khz=`. And `tsc=reliable` keeps the kernel from checking the counter against ticks, which a
busy host loses: it would fall back to them for good, and with a template so would every box
(Documentation/admin-guide/kernel-parameters.txt).
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time

from engine.model import Accel

MEASURE_S = 0.1
_ATTEMPTS = 5

_READ_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret"""


def clock_args(accel: Accel) -> tuple[str, ...]:
    """Kernel arguments that tell the guest its clock. Blocks for MEASURE_S; empty where they are not needed (KVM and
    Hypervisor.framework tell it themselves) or nothing can be measured."""
    if accel is not Accel.TCG:
        return ()
    khz = measure_tsc_khz()
    return (f"tsc_early_khz={khz}", "tsc=reliable") if khz else ()


def measure_tsc_khz() -> int | None:
    """The frequency of this host's time stamp counter in kHz, or None where there is none or it may not be read."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:  # a hardened host allows no page to be written and executed
        return None
    page.write(_READ_COUNTER)
    anchor = ctypes.c_char.from_buffer(page)
    try:
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor))
        first_ns, first = _sample(read)
        time.sleep(MEASURE_S)
        last_ns, last = _sample(read)
    finally:
        del anchor
        page.close()
    return round((last - first) * 1_000_000 / (last_ns - first_ns))


def _sample(read: ctypes._FuncPointer) -> tuple[int, int]:
    """The clock (ns) and the counter at one moment: the closest of several tries."""
    best: tuple[int, int, int] | None = None
    for _ in range(_ATTEMPTS):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, counter)
    assert best is not None
    return best[1], best[2]
