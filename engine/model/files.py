"""What a path in a box is."""

from __future__ import annotations

import stat
from datetime import datetime
from enum import StrEnum

from engine.values import dataclass


class FileKind(StrEnum):
    """What a name in a box's file system is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    FIFO = "fifo"
    SOCKET = "socket"
    BLOCK_DEVICE = "block-device"
    CHARACTER_DEVICE = "character-device"
    UNKNOWN = "unknown"


_KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.LINK,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
    stat.S_IFBLK: FileKind.BLOCK_DEVICE,
    stat.S_IFCHR: FileKind.CHARACTER_DEVICE,
}


def file_kind(st_mode: int) -> FileKind:
    return _KINDS.get(stat.S_IFMT(st_mode), FileKind.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file, directory or whatever else a path in a box names, when it was looked at.

    `mode` holds the permission bits (0o644); `modified_at` is aware UTC, to the microsecond; `link_target` is None where
    `kind` is no link. Names need not be UTF-8: what is not stands in `path` as `os.fsdecode` has it. They are the box's own
    words and may hold line ends or escape sequences.
    """

    path: str
    kind: FileKind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    modified_at: datetime
    link_target: str | None = None

    @property
    def name(self) -> str:
        """The last component of the path; empty for `/`."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """Is it a regular file?"""
        return self.kind is FileKind.FILE

    @property
    def is_directory(self) -> bool:
        """Is it a directory?"""
        return self.kind is FileKind.DIRECTORY

    @property
    def is_link(self) -> bool:
        """Is it a symbolic link?"""
        return self.kind is FileKind.LINK
