"""The part of the guest image that comes from Debian: kernel, modules, busybox and the root file system.

mmdebstrap unpacks the packages (their maintainer scripts never run: nothing here needs them); what the agent does not
use is left out on the way from its tar to ours, and `mke2fs -d` makes a read-only root of the rest, without root.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError, UnsupportedError
from engine.fsutil import storage_error
from engine.process import Command, run
from engine.values import dataclass
from engine.vmm.kernel_modules import module_name

if TYPE_CHECKING:
    import tarfile

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
PYTHON = "python3.13"
ROOT_FORMAT = 1
"""Counted up with every change of this module that changes its outcome."""

_PACKAGES = (
    "busybox-static", "crun", "e2fsprogs", "python3-grpclib", "python3-h2", "python3-minimal", "python3-protobuf",
)  # fmt: skip
_DEBIAN_ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

_PRECOMPILED = (
    "array", "asyncio", "base64", "collections", "contextlib", "ctypes", "dataclasses", "enum", "errno", "fcntl",
    "functools", "gc", "google.protobuf.internal.builder", "grp", "grpclib.server", "h2.connection", "ipaddress",
    "itertools", "json", "logging", "mmap", "os", "pwd", "random", "re", "resource", "select", "shutil", "signal",
    "socket", "stat", "struct", "tarfile", "tempfile", "termios", "time", "traceback", "typing", "uuid", "weakref",
)  # fmt: skip
"""Imported once while the root is made, so that their bytecode (and that of all they import) is in it."""

_DIRECTORIES = ("dev", "proc", "sys", "run", "tmp", "var", "mnt", "opt", "root", "etc")
_EXCLUDED = (
    "boot/", "dev/", "etc/", "tmp/", "var/", "usr/include/", "usr/share/", "usr/games/", "usr/lib/modules/",
    "usr/lib/systemd/", "usr/lib/udev/", "usr/lib/initramfs-tools/", "usr/lib/modprobe.d/", "usr/lib/tmpfiles.d/",
    f"usr/lib/{PYTHON}/test/", f"usr/lib/{PYTHON}/_pyrepl/", f"usr/lib/{PYTHON}/pydoc_data/",
    f"usr/lib/{PYTHON}/unittest/", f"usr/lib/{PYTHON}/venv/", f"usr/lib/{PYTHON}/wsgiref/",
    f"usr/lib/{PYTHON}/xmlrpc/", f"usr/lib/{PYTHON}/curses/", f"usr/lib/{PYTHON}/sqlite3/",
    f"usr/lib/{PYTHON}/dbm/", f"usr/lib/{PYTHON}/html/", f"usr/lib/{PYTHON}/xml/", "usr/bin/", "usr/sbin/",
    "usr/lib/klibc", "usr/lib/locale/", "usr/lib/dpkg/", "usr/lib/valgrind/", "usr/lib/apt/",
)  # fmt: skip
_PROGRAMS = frozenset({
    f"usr/bin/{PYTHON}", "usr/bin/python3", "usr/bin/crun", "usr/bin/busybox", "usr/bin/sh",
    "usr/sbin/e2fsck", "usr/sbin/mke2fs", "usr/sbin/mkfs.ext4", "usr/sbin/resize2fs", "usr/sbin/tune2fs",
})  # fmt: skip
_EXCLUDED_PARTS = (
    "/gconv/",
    "/systemd/",
    "/perl",
    "/krb5/",
    "/libsqlite3.so",
    "/libdb-5",
    "/libcrun.a",
    "/libmvec",
)
_MODULE_ROOT = "usr/lib/modules/"
_MODULE_FOLDERS = ("/kernel/fs/", "/kernel/net/", "/kernel/lib/", "/kernel/crypto/", "/kernel/drivers/virtio/",
                   "/kernel/drivers/block/", "/kernel/drivers/net/", "/kernel/drivers/char/")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianParts:
    """What was taken out of the packages. `module_files` maps a module's path to its file, compressed or not."""

    kernel: bytes
    busybox: bytes
    module_files: dict[str, bytes]
    builtin_modules: frozenset[str]


def debian_arch() -> str:
    """Debian's name of this host's architecture. Raises UnsupportedError."""
    machine = platform.machine().lower()
    try:
        return _DEBIAN_ARCHES[machine]
    except KeyError:
        raise UnsupportedError(
            f"no guest image can be built for the architecture {machine}",
            hint="BoxLite runs on x86-64 and arm64",
        ) from None


def root_inputs_digest(arch: str) -> str:
    """What the outcome of `build_debian_tar` depends on (but for Debian's archive itself), as 16 hex digits."""
    inputs = {
        "format": ROOT_FORMAT, "suite": SUITE, "mirror": MIRROR, "arch": arch, "packages": _packages(arch),
        "precompiled": _PRECOMPILED,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _packages(arch: str) -> tuple[str, ...]:
    return (*_PACKAGES, f"linux-image-{arch}")


def mmdebstrap_command(arch: str, target: Path) -> Command:
    """The command that unpacks the packages into the tar file `target`."""
    merged_usr = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'
    precompile = f'chroot "$1" /usr/bin/{PYTHON} -c "import {", ".join(_PRECOMPILED)}"'
    return Command(
        argv=(
            "mmdebstrap",
            "--variant=extract",
            "--mode=auto",
            "--quiet",
            f"--architectures={arch}",
            f"--include={','.join(_packages(arch))}",
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Retries "3"',
            f"--setup-hook={merged_usr}",
            f"--extract-hook={precompile}",
            SUITE,
            str(target),
            f"deb {MIRROR} {SUITE} main",
        )
    )


async def build_debian_tar(arch: str, target: Path) -> None:
    """Unpack the packages into the tar file `target`. Takes ten to sixty seconds and the network."""
    await run(mmdebstrap_command(arch, target), timeout_s=1200.0)


def split_tar(source: Path, root_tar: Path) -> DebianParts:
    """Write what belongs into the root to `root_tar` and return the rest. Blocks: call it in a thread."""
    import tarfile

    kernel = busybox = b""
    modules: dict[str, bytes] = {}
    builtin: frozenset[str] = frozenset()
    try:
        with tarfile.open(source, "r:") as packed, tarfile.open(root_tar, "w:") as root:
            for name in _DIRECTORIES:
                root.addfile(_directory(name))
            for member in packed:
                path = member.name.removeprefix("./")
                if path.startswith("boot/vmlinuz-"):
                    kernel = _content(packed, member)
                elif path.startswith(_MODULE_ROOT):
                    if path.endswith("/modules.builtin"):
                        lines = _content(packed, member).decode().splitlines()
                        builtin = frozenset(name for name in map(module_name, lines) if name)
                    elif module_name(path) and any(part in path for part in _MODULE_FOLDERS):
                        modules[path] = _content(packed, member)
                elif _belongs_into_root(path, member):
                    if path == "usr/bin/busybox":
                        busybox = _content(packed, member)
                    root.addfile(member, packed.extractfile(member) if member.isfile() else None)
    except OSError as error:
        raise storage_error(error, "unpacking the guest's packages") from error
    if not kernel or not busybox:
        raise EngineError("the guest's packages hold no kernel or no busybox")
    return DebianParts(kernel=kernel, busybox=busybox, module_files=modules, builtin_modules=builtin)


def _belongs_into_root(path: str, member: tarfile.TarInfo) -> bool:
    if not path or path.rstrip("/") in _DIRECTORIES:
        return False
    if path in _PROGRAMS:
        return True
    return not path.startswith(_EXCLUDED) and not any(part in f"/{path}" for part in _EXCLUDED_PARTS)


def _directory(name: str) -> tarfile.TarInfo:
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.mode = 0o755
    return entry


def _content(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member)
    return file.read() if file else b""


async def make_root_image(root_tar: Path, target: Path) -> None:
    """Make the read-only ext4 file system `target` of a tar. The same tar gives the same bytes."""
    size = root_tar.stat().st_size
    blocks = (size + size // 8) // 4096 + 2048
    command = Command(
        argv=(
            "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "boxlite-root",
            "-O", "^has_journal,^resize_inode,^metadata_csum,^64bit",
            "-U", "5b0c3b36-7b5d-4a1e-9d5f-626f786c6974", "-E", "hash_seed=5b0c3b36-7b5d-4a1e-9d5f-626f786c6974,root_owner=0:0",
            "-d", str(root_tar), str(target), str(blocks),
        ),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "E2FSPROGS_FAKE_TIME": "1"},
    )  # fmt: skip
    await run(command, timeout_s=300.0)
