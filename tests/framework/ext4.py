"""Read an ext4 image back with debugfs, which shares no code path with how it was made."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    0o10: "file",
    0o04: "directory",
    0o12: "symlink",
    0o02: "character",
    0o06: "block",
    0o01: "fifo",
    0o14: "socket",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the file system has at a path."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    inode: int
    links: int = 0
    mtime_s: int = 0
    target: str = ""
    device: str = ""


class Ext4Image:
    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def run(self, command: str) -> bytes:
        done = subprocess.run(("debugfs", "-R", command, self.path), capture_output=True, check=True)
        return done.stdout

    def check(self) -> None:
        """e2fsck finds nothing to mend."""
        done = subprocess.run(("e2fsck", "-f", "-n", self.path), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def names(self, directory: str = "/") -> list[bytes]:
        return sorted(line.split(b"/")[5] for line in self._listing(directory))

    def stat(self, path: str) -> Found:
        text = self.run(f'stat "{path}"').decode("utf-8", "replace")
        assert "Inode:" in text, f"{path} does not exist: {text}"

        def number(pattern: str, base: int = 10) -> int:
            match = re.search(pattern, text)
            return int(match[1], base) if match else 0

        target = re.search(r'Fast link dest: "(.*)"', text)
        kind = re.search(r"Type: (.*?)\s+Mode:", text)
        assert kind is not None
        shown = {
            "regular": "file",
            "character special": "character",
            "block special": "block",
            "FIFO": "fifo",
        }
        device = re.search(r"Device major/minor number: (\d+:\d+)", text)
        kind_name = shown.get(kind[1], kind[1])
        link = target[1] if target else ""
        if kind_name == "symlink" and not target:
            link = self.run(f'cat "{path}"').decode()
        return Found(
            kind=kind_name,
            mode=number(r"Mode:\s+([0-7]+)", 8),
            uid=number(r"User:\s+(-?\d+)"),
            gid=number(r"Group:\s+(-?\d+)"),
            size=number(r"Size: (\d+)"),
            inode=number(r"Inode: (\d+)"),
            links=number(r"Links: (\d+)"),
            mtime_s=number(r"mtime: 0x([0-9a-f]+)", 16),
            target=link,
            device=device[1] if device else "",
        )

    def exists(self, path: str) -> bool:
        return b"Inode:" in self.run(f'stat "{path}"')

    def read(self, path: str) -> bytes:
        return self.run(f'cat "{path}"')

    def copy_out(self, target: Path) -> None:
        """Everything into a directory of the host, contents and times, in one go."""
        self.run(f"rdump / {target}")

    def xattr(self, path: str, name: str) -> bytes:
        text = self.run(f'ea_get -x "{path}" {name}').decode()
        return bytes.fromhex(text.partition("=")[2].strip())

    def tree(self) -> dict[str, Found]:
        """Everything, by path without a leading slash; links, times and targets are not filled in."""
        found: dict[str, Found] = {}
        pending = [""]
        while pending:
            directory = pending.pop()
            for line in self._listing(f"/{directory}"):
                _, inode, mode, uid, gid, name, size, _ = line.split(b"/")
                if name in (b".", b".."):
                    continue
                path = (f"{directory}/" if directory else "") + name.decode("utf-8", "surrogateescape")
                bits = int(mode, 8)
                found[path] = Found(
                    kind=_TYPES[bits >> 12], mode=bits & 0o7777, uid=int(uid), gid=int(gid),
                    size=int(size or 0), inode=int(inode),
                )  # fmt: skip
                if found[path].kind == "directory":
                    pending.append(path)
        return found

    def _listing(self, directory: str) -> list[bytes]:
        return [line for line in self.run(f'ls -p "{directory}"').splitlines() if line.startswith(b"/")]
