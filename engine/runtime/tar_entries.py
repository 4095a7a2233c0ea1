"""What an entry of a tar stream from a box may say. tarfile believes its headers: sizes below zero, times that are no numbers,
headers within headers, maps of holes without end. All of that is refused here before it is acted upon.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import PortalError, UnsupportedError

if TYPE_CHECKING:
    import tarfile

MAX_HEADER_BYTES = 1024 * 1024
"""Longest extended header that is taken into memory."""
MAX_HEADERS_IN_A_ROW = 8
"""How many extended headers one entry may have: GNU and pax tar write at most three."""
MAX_PATH_LENGTH = 4096
"""PATH_MAX (limits.h): nothing in the box can be called by a longer one."""
MAX_XATTR_BYTES = 64 * 1024
"""XATTR_SIZE_MAX and XATTR_LIST_MAX (xattr(7)): no entry has more."""
_MAX_ID = 2**32 - 2
_MAX_TIME_S = 2.0**40
_XATTR_PREFIX = "SCHILY.xattr."


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a file or directory gets once its content is there. `xattrs` holds those of users only."""

    mode: int
    uid: int
    gid: int
    mtime: float
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, member: tarfile.TarInfo) -> Attributes:
        """Those of a checked entry."""
        xattrs = tuple(
            (key.removeprefix(_XATTR_PREFIX), value.encode("utf-8", "surrogateescape"))
            for key, value in member.pax_headers.items()
            if key.startswith(f"{_XATTR_PREFIX}user.")
        )
        return cls(mode=member.mode, uid=member.uid, gid=member.gid, mtime=member.mtime, xattrs=xattrs)


def check_entry(member: tarfile.TarInfo, shown: str) -> None:
    """Raises PortalError for an entry whose numbers or names no file can have; `shown` is its name as it may be shown."""
    if member.size < 0 or not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise PortalError(f"the box sent an entry with a size or owner that cannot be: {shown}")
    if not (math.isfinite(member.mtime) and abs(member.mtime) <= _MAX_TIME_S):
        raise PortalError(f"the box sent an entry with a time that cannot be: {shown}")
    if "\0" in member.linkname or len(member.linkname) > MAX_PATH_LENGTH:
        raise PortalError(f"the box sent a link that leads nowhere: {shown}")
    xattrs = [(k, v) for k, v in member.pax_headers.items() if k.startswith(_XATTR_PREFIX)]
    if any("\0" in key for key, _ in xattrs) or sum(len(k) + len(v) for k, v in xattrs) > MAX_XATTR_BYTES:
        raise PortalError(f"the box sent an entry with attributes that cannot be: {shown}")


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """While tarfile parses headers: PortalError for what it trips over but does not mean to raise."""
    try:
        yield
    except (ArithmeticError, LookupError, RecursionError, ValueError) as error:
        raise PortalError("the box sent a tar header that makes no sense") from error


def checked_entries() -> type[tarfile.TarInfo]:
    """tarfile's class of entries for one archive, with its headers bounded in size and number."""
    import tarfile

    extended = (
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    )  # fmt: skip
    in_a_row = 0

    class Entry(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
            nonlocal in_a_row
            entry = super().frombuf(buf, encoding, errors)
            in_a_row = in_a_row + 1 if entry.type in extended else 0
            if entry.size < 0 or (entry.type in extended and entry.size > MAX_HEADER_BYTES):
                raise _HeaderError(f"the box sent a header of {entry.size} bytes")
            if in_a_row > MAX_HEADERS_IN_A_ROW:
                raise _HeaderError("the box sent headers within headers without end")
            if entry.type == tarfile.XGLTYPE:  # they add up for the whole archive
                raise _HeaderError("the box sent a header for all entries")
            if entry.type == tarfile.GNUTYPE_SPARSE:
                raise _SparseError("the box sent a sparse file in a form that is not taken")
            return entry

        def _proc_gnusparse_10(self, *_: object) -> None:
            """Of the pax forms the one whose map is in the data, and as long as the sender likes."""
            raise _SparseError("the box sent a sparse file in a form that is not taken")

    return Entry


class _HeaderError(PortalError):
    """Not an error of tarfile's, which would read on."""


class _SparseError(UnsupportedError):
    """Not an error of tarfile's either."""
