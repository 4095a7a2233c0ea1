"""Name the programs this host lacks; used by the scripts beside it before anything is installed.

    host_programs.py [--build] [--tests]

Prints one line per missing package: `backports PACKAGE` or `main PACKAGE` on Debian and its kin, else `hint TEXT`.
Prints nothing when nothing is missing. Needs Python 3.11 and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.host.facts import os_release  # noqa: E402
from engine.host.packages import (  # noqa: E402
    Program,
    System,
    find_system,
    guest_build_programs,
    install_hint,
    needed_programs,
)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/opt/homebrew/opt/e2fsprogs/sbin"
DEBIAN, FEDORA, ARCH, MACOS = System.DEBIAN, System.FEDORA, System.ARCH, System.MACOS


def example_programs() -> tuple[Program, ...]:
    """What the first image is made of."""
    return (
        Program(
            name="busybox",
            purpose="is the content of the first image",
            packages={DEBIAN: "busybox-static", FEDORA: "busybox", ARCH: "busybox"},
        ),
    )


def test_programs() -> tuple[Program, ...]:
    """What the tests use besides."""
    return (
        Program(
            name="docker-registry",
            purpose="is the registry that tests pull from",
            packages={DEBIAN: "docker-registry", FEDORA: "docker-distribution", ARCH: "docker-registry"},
        ),
        Program(
            name="htpasswd",
            purpose="makes the registry's accounts",
            packages={DEBIAN: "apache2-utils", FEDORA: "httpd-tools", ARCH: "apache"},
        ),
        Program(
            name="qemu-img",
            purpose="checks the disks of boxes",
            packages={DEBIAN: "qemu-utils", FEDORA: "qemu-img", ARCH: "qemu-img"},
            backport=True,
        ),
        Program(
            name="debugfs",
            purpose="reads file systems back",
            packages=dict.fromkeys(System, "e2fsprogs"),
            backport=True,
        ),
        Program(name="skopeo", purpose="copies images", packages=dict.fromkeys(System, "skopeo")),
        Program(
            name="umoci",
            purpose="unpacks images, to be compared with",
            packages=dict.fromkeys((DEBIAN, FEDORA), "umoci"),
        ),
        Program(
            name="tmux", purpose="is the terminal tests type into", packages=dict.fromkeys(System, "tmux")
        ),
        Program(name="zsh", purpose="completes words in a test", packages=dict.fromkeys(System, "zsh")),
        Program(name="fish", purpose="completes words in a test", packages=dict.fromkeys(System, "fish")),
        Program(name="mandoc", purpose="reads manual pages", packages=dict.fromkeys(System, "mandoc")),
    )


def is_there(program: Program) -> bool:
    """Is the program installed, and new enough?"""
    if program.is_library:
        return _loads(program.name)
    path = shutil.which(program.name, path=PATH)
    if path is None:
        return False
    if not program.minimum:
        return True
    flag = "-V" if program.name == "mke2fs" else "--version"
    done = subprocess.run((path, flag), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout or done.stderr)
    return match is not None and tuple(int(part or 0) for part in match.groups()) >= program.minimum


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return sys.platform == "darwin"
    return True


def missing_lines(programs: tuple[Program, ...]) -> Iterator[str]:
    system = find_system()
    bookworm = os_release().get("VERSION_CODENAME") == "bookworm"
    for program in programs:
        if (system is not None and system not in program.packages) or is_there(program):
            continue
        if system is System.DEBIAN:
            source = "backports" if bookworm and program.backport else "main"
            yield f"{source} {program.packages[System.DEBIAN]}"
        else:
            yield f"hint {program.name}: {install_hint(program, system)}"


def main() -> None:
    programs = needed_programs()
    if "--build" in sys.argv:
        programs += guest_build_programs(as_root=os.geteuid() == 0) + example_programs()
    if "--tests" in sys.argv:
        programs += test_programs()
    for line in dict.fromkeys(missing_lines(programs)):
        print(line)


if __name__ == "__main__":
    main()
