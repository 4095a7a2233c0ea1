"""The programs of the host that boxes need, and the package each is in. Only the standard library is imported, so that
`scripts/quickstart` can ask before anything is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum

from engine.host.facts import machine_arch, os_release
from engine.values import dataclass

Version = tuple[int, ...]


class System(StrEnum):
    """Families of systems that name their packages alike."""

    DEBIAN = "debian"
    FEDORA = "fedora"
    ARCH = "arch"
    MACOS = "macos"


SYSTEM_NAMES = {
    System.DEBIAN: "Debian, Ubuntu",
    System.FEDORA: "Fedora",
    System.ARCH: "Arch Linux",
    System.MACOS: "macOS",
}
INSTALL_COMMANDS = {
    System.DEBIAN: "sudo apt install",
    System.FEDORA: "sudo dnf install",
    System.ARCH: "sudo pacman -S",
    System.MACOS: "brew install",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, what it is for, and its package per family; a family without one has no need of it or no package.

    `minimum` is the oldest version that works; `backport` says that Debian 12's own is older and backports have it.
    `is_library` is a shared library instead of a program.
    """

    name: str
    purpose: str
    packages: Mapping[System, str]
    minimum: Version = ()
    backport: bool = False
    is_library: bool = False


_D, _F, _A, _M = System.DEBIAN, System.FEDORA, System.ARCH, System.MACOS


def _same(name: str, *systems: System) -> dict[System, str]:
    return dict.fromkeys(systems or (_D, _F, _A), name)


def _qemu(arch: str) -> Program:
    debian = "qemu-system-x86" if arch == "x86_64" else "qemu-system-arm"
    distro = "qemu-system-x86" if arch == "x86_64" else "qemu-system-aarch64"
    return Program(
        name=f"qemu-system-{arch}",
        purpose="runs the machines",
        packages={_D: debian, _F: distro, _A: distro, _M: "qemu"},
        minimum=(8, 2),
        backport=True,
    )


def needed_programs(arch: str | None = None) -> tuple[Program, ...]:
    """What running boxes needs, for machines of `arch` (default: the host's)."""
    return (
        _qemu(arch or machine_arch()),
        Program(
            name="libseccomp.so.2",
            purpose="makes the filters of system calls",
            packages={_D: "libseccomp2", _F: "libseccomp", _A: "libseccomp"},
            is_library=True,
        ),
        Program(name="bwrap", purpose="builds the jail around a machine", packages=_same("bubblewrap")),
        Program(name="passt", purpose="connects boxes to the network", packages=_same("passt")),
        Program(name="prlimit", purpose="limits what a machine may use", packages=_same("util-linux")),
    )


def guest_build_programs(*, as_root: bool = False) -> tuple[Program, ...]:
    """What building the guest image here needs (`boxlite system setup`; `--from` fetches it instead)."""
    programs = (
        Program(
            name="mmdebstrap",
            purpose="assembles the guest image",
            packages=_same("mmdebstrap", _D, _F),
        ),
        Program(
            name="mke2fs",
            purpose="makes the guest image's file system",
            packages=_same("e2fsprogs", _D, _F, _A, _M),
            minimum=(1, 47, 1),
            backport=True,
        ),
        Program(
            name="libarchive.so.13",
            purpose="lets mke2fs read archives",
            packages={_D: "libarchive13", _F: "libarchive", _A: "libarchive", _M: "libarchive"},
            is_library=True,
        ),
        Program(
            name="newuidmap",
            purpose="lets an ordinary user assemble the guest image",
            packages={_D: "uidmap", _F: "shadow-utils", _A: "shadow"},
        ),
    )
    return programs[:-1] if as_root else programs


def find_system(release: Mapping[str, str] | None = None) -> System | None:
    """The family of this host, from os-release(5); None for one this table does not know."""
    if sys.platform == "darwin":
        return System.MACOS
    fields = os_release() if release is None else release
    names = (fields.get("ID", ""), *fields.get("ID_LIKE", "").split())
    families = {"debian": _D, "ubuntu": _D, "fedora": _F, "rhel": _F, "centos": _F, "arch": _A}
    return next((families[name] for name in names if name in families), None)


def install_hint(program: Program, system: System | None, *, codename: str | None = None) -> str:
    """The command that installs a program, or what provides it where that is not known. `codename` is Debian's
    (default: this host's)."""
    if system is None or system not in program.packages:
        known = "; ".join(
            f"{SYSTEM_NAMES[family]}: {package}" for family, package in program.packages.items()
        )
        return f"install what provides {program.name} ({known})"
    if codename is None:
        codename = os_release().get("VERSION_CODENAME", "")
    from_backports = system is System.DEBIAN and program.backport and codename == "bookworm"
    target = " -t bookworm-backports" if from_backports else ""
    return f"{INSTALL_COMMANDS[system]}{target} {program.packages[system]}"
