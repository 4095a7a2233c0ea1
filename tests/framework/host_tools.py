"""A layer of this host's own interactive programs, with the libraries they are linked with: an editor, a pager, a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.framework.image_builder import Entry, file, folder, symlink

_TERMINFO = (Path("/lib/terminfo"), Path("/usr/share/terminfo"))
_TERMINALS = ("xterm", "screen")
_LOCALE = Path("/usr/lib/locale/C.utf8")
"""A multiplexer insists on one that knows UTF-8."""


def missing(programs: Iterable[str]) -> list[str]:
    return [name for name in programs if shutil.which(name) is None]


def layer(programs: Iterable[str]) -> list[Entry]:
    """The programs in /usr/bin, everything they need, and a user root."""
    found = {name: Path(shutil.which(name) or "").resolve() for name in programs}
    files = {f"usr/bin/{name}": path for name, path in found.items()}
    for path in found.values():
        linked = subprocess.run(("ldd", str(path)), capture_output=True, text=True, check=False).stdout
        files |= {word.removeprefix("/"): Path(word) for word in re.findall(r"(/\S+) \(0x", linked)}
    for place in (*_terminfo(), *(path for path in _LOCALE.rglob("*") if path.is_file())):
        files[str(place).removeprefix("/")] = place
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    return [
        *(folder(name) for name in folders),
        folder("tmp", mode=0o1777),
        folder("root", mode=0o700),
        folder("etc"),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        *(file(name, path.read_bytes(), mode=0o755) for name, path in sorted(files.items())),
        symlink("bin", "usr/bin"),
    ]


def _terminfo() -> Iterator[Path]:
    for name in _TERMINALS:
        for place in _TERMINFO:
            path = place / name[0] / name
            if path.is_file():
                yield path
                break
