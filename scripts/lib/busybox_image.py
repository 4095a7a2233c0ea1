"""Write the file system of the first image to a tar file: Debian's busybox and the names it answers to.

busybox_image.py TARGET
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

DIRECTORIES = {"dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755,
               "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755, "var/tmp": 0o1777,
               "bin": 0o755, "sbin": 0o755}  # fmt: skip
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*:::::::\nnobody:*:::::::\n",
    "etc/os-release": 'ID=busybox\nNAME="BusyBox"\nPRETTY_NAME="BusyBox from Debian"\n',
}


def entry(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    """A tar entry that belongs to root and has no time, so that the same busybox gives the same image."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, link
    return info


def write_image(busybox: Path, target: Path) -> None:
    listed = subprocess.run(
        (busybox, "--list-full"), capture_output=True, text=True, check=True
    ).stdout.split()
    with tarfile.open(target, "w") as tar:
        for name, mode in sorted(DIRECTORIES.items()):
            tar.addfile(entry(name, tarfile.DIRTYPE, mode))
        for name, text in sorted(FILES.items()):
            mode = 0o600 if name == "etc/shadow" else 0o644
            tar.addfile(entry(name, tarfile.REGTYPE, mode, size=len(text)), io.BytesIO(text.encode()))
        program = busybox.read_bytes()
        tar.addfile(entry("bin/busybox", tarfile.REGTYPE, 0o755, size=len(program)), io.BytesIO(program))
        for name in sorted({name for name in listed if Path(name).parent.as_posix() in DIRECTORIES}):
            if name != "bin/busybox":
                tar.addfile(entry(name, tarfile.SYMTYPE, 0o777, link="/bin/busybox"))


def main() -> None:
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if found is None:
        sys.exit("busybox is not installed")
    write_image(Path(found), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
