"""Accelerators: which there seem to be, and which were found out not to work.

A /dev/kvm that opens is not one that works: a nested or half-virtualized host may offer it and then fail at the first
instruction, or never come to an end. So cheap tests give the candidates, running a guest (`probe`, the first
template) gives the verdict, and a bad verdict is remembered until the host boots again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from engine import fsutil
from engine.host.facts import boot_id, hypervisor_framework, operating_system
from engine.layout import Layout
from engine.model import Accel
from engine.values import dataclass

KVM_DEVICE = Path("/dev/kvm")
KVM_API_VERSION = 12
KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
"""ioctl numbers and version: the kernel's Documentation/virt/kvm/api.rst, sections 4.1 and 4.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An accelerator and why it cannot be used; `problem` empty: it seems usable. `remedy`: what may help."""

    accel: Accel
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccelVerdict:
    """What running a guest showed."""

    usable: bool
    reason: str


def examine_accels(device: Path = KVM_DEVICE) -> tuple[Candidate, ...]:
    """The accelerators of this system in the order of preference, by tests of less than a millisecond."""
    first = (
        Candidate(accel=Accel.HVF, problem=_hvf_problem())
        if operating_system() == "darwin"
        else _kvm_candidate(device)
    )
    return (first, Candidate(accel=Accel.TCG))


def accel_candidates(verdicts: AccelVerdicts) -> tuple[Accel, ...]:
    """The candidates that seem usable and have no bad verdict, best first. The last is always tcg."""
    known = verdicts.load()
    return tuple(
        candidate.accel
        for candidate in examine_accels()
        if not candidate.problem and (candidate.accel not in known or known[candidate.accel].usable)
    )


def _hvf_problem() -> str:
    return "" if hypervisor_framework() else "this Mac's processor has no support for Hypervisor.framework"


def _kvm_candidate(device: Path) -> Candidate:
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Candidate(
            accel=Accel.KVM,
            problem=f"there is no {device}",
            remedy="enable virtualization in the firmware and load kvm_intel or kvm_amd; in a machine, ask for nesting",
        )
    except PermissionError:
        return Candidate(
            accel=Accel.KVM,
            problem=f"{device} may not be opened by this user",
            remedy='sudo usermod -aG kvm "$USER", then log in again',
        )
    except OSError as error:
        return Candidate(accel=Accel.KVM, problem=f"{device} cannot be opened: {error.strerror}")
    try:
        version = fcntl.ioctl(fd, KVM_GET_API_VERSION)
        if version != KVM_API_VERSION:
            return Candidate(accel=Accel.KVM, problem=f"{device} has API version {version}")
        os.close(fcntl.ioctl(fd, KVM_CREATE_VM, 0))
    except OSError as error:
        return Candidate(accel=Accel.KVM, problem=f"{device} makes no machine: {error.strerror}")
    finally:
        os.close(fd)
    return Candidate(accel=Accel.KVM)


class AccelVerdicts:
    """Verdicts on accelerators, in a small file of the home, which count for this boot of the host only."""

    def __init__(self, home: Path) -> None:
        self._path = Layout(home).accel_path

    def load(self) -> Mapping[Accel, AccelVerdict]:
        """Those of this boot. A file that is missing or cannot be understood holds none: it is only a memory."""
        try:
            document = json.loads(self._path.read_bytes())
            if document["boot_id"] != boot_id():
                return {}
            return {
                Accel(name): AccelVerdict(usable=bool(entry["usable"]), reason=str(entry["reason"]))
                for name, entry in document["verdicts"].items()
            }
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def find(self, accel: Accel) -> AccelVerdict | None:
        return self.load().get(accel)

    def mark_unusable(self, accel: Accel, reason: str) -> None:
        self.record(accel, usable=False, reason=reason)

    def record(self, accel: Accel, *, usable: bool, reason: str) -> None:
        """Remember a verdict. Of two processes that do so at once, one's may be lost, and is found out again."""
        known = {**self.load(), accel: AccelVerdict(usable=usable, reason=reason)}
        document = {
            "boot_id": boot_id(),
            "verdicts": {
                name.value: {"usable": verdict.usable, "reason": verdict.reason}
                for name, verdict in known.items()
            },
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fsutil.write_atomic(self._path, json.dumps(document, indent=2).encode() + b"\n")
        except OSError as error:
            raise fsutil.storage_error(error, "writing") from error
