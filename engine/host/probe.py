"""Does an accelerator run a guest? A machine of a few bytes shows it within a tenth of a second.

On x86-64 the whole guest is seven bytes at the reset vector that write a number to QEMU's debug-exit port, which ends
QEMU with 2n+1 (docs/specs, hw/misc/debugexit.c). On arm64 it asks the firmware interface to switch the machine off
(Arm PSCI, SYSTEM_OFF). The processor model is the one boxes get: it is choosing `host` that some hosts do not survive.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from engine.errors import BoxliteError
from engine.host.accel import AccelVerdict
from engine.host.facts import machine_arch
from engine.host.programs import qemu_binary
from engine.model import Accel
from engine.process import Command, Completed, run

PROBE_TIMEOUT_S = 3.0
_ROM_BYTES = 64 * 1024
_EXIT_VALUE = 42
_X86_RESET_VECTOR = _ROM_BYTES - 16
_X86_GUEST = bytes((0xB0, _EXIT_VALUE, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD))  # mov al,42; out 0xf4,al; hlt; jmp $-1
_ARM_GUEST = struct.pack("<4I", 0x52800100, 0x72B08000, 0xD4000002, 0x14000000)  # w0=SYSTEM_OFF; hvc #0; b .


async def probe_accel(accel: Accel, *, timeout_s: float = PROBE_TIMEOUT_S) -> AccelVerdict:
    """Start a machine on `accel` and see whether its guest runs. Raises UnsupportedError without QEMU."""
    architecture = machine_arch()
    cpu = "max" if accel is Accel.TCG else "host"
    with tempfile.TemporaryDirectory(prefix="boxlite-probe-") as directory:
        guest = Path(directory, "guest")
        machine, expected = _write_guest(guest, architecture)
        command = Command(
            argv=(
                qemu_binary(), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                "-accel", accel.value, "-cpu", cpu, "-m", "32M", *machine,
            )
        )  # fmt: skip
        try:
            completed = await run(command, timeout_s=timeout_s, check=False)
        except BoxliteError as error:
            return AccelVerdict(usable=False, reason=f"a trivial guest did not end: {error.message}")
    if completed.exit_status == expected:
        return AccelVerdict(usable=True, reason="a trivial guest ran")
    return AccelVerdict(usable=False, reason=_failure(completed))


def _write_guest(path: Path, architecture: str) -> tuple[tuple[str, ...], int]:
    """Write the guest; returns the words that run it and the exit status it ends QEMU with."""
    if architecture == "aarch64":
        path.write_bytes(_ARM_GUEST)
        return ("-machine", "virt,gic-version=max", "-kernel", str(path)), 0
    rom = bytearray(_ROM_BYTES)
    rom[_X86_RESET_VECTOR : _X86_RESET_VECTOR + len(_X86_GUEST)] = _X86_GUEST
    path.write_bytes(rom)
    machine = ("-machine", "microvm,acpi=off,x-option-roms=off", "-bios", str(path))
    return (*machine, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01"), 2 * _EXIT_VALUE + 1


def _failure(completed: Completed) -> str:
    lines = completed.stderr_tail.splitlines()
    said = lines[0].removeprefix("qemu-system-x86_64: ") if lines else "it said nothing"
    if completed.exit_status < 0:
        return f"QEMU was ended by signal {-completed.exit_status}: {said}"
    return f"QEMU ended with status {completed.exit_status}: {said}"
