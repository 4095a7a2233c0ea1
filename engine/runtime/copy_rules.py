"""Where a copy goes: the rules of `cp` between host and box, decided from names and kinds alone."""

from __future__ import annotations

import posixpath
from enum import StrEnum

from engine.errors import InvalidArgumentError
from engine.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """`include_parent` false copies a directory's contents, as `SRC/.` does. `follow_link`: when SRC is a symbolic link,
    copy what it leads to. `keep_owner`: numeric owner and group as they are in the source."""

    overwrite: bool = True
    follow_link: bool = False
    include_parent: bool = True
    keep_owner: bool = False


class TargetKind(StrEnum):
    """What is at a destination, links followed."""

    MISSING = "missing"
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is copied. `name` is what it is called at its destination when that is a directory; empty: its contents
    have no name of their own (`/`, `dir/.`)."""

    path: str
    name: str
    is_directory: bool = False

    @property
    def contents_only(self) -> bool:
        return not self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Extract in `directory` (made when missing) as `name`; empty: the contents go straight into it."""

    directory: str
    name: str


def source_name(path: str, *, include_parent: bool = True) -> str:
    """The name a source takes along: its last component, none for `/`, `.`, `..` and paths that end in `/.`."""
    last = path.rstrip("/").rpartition("/")[2]
    return "" if last in ("", ".", "..") or not include_parent else last


def choose_destination(source: Source, target: str, kind: TargetKind) -> Destination:
    """Decide where a source goes.

        file       missing path                 becomes that path, parents made
        file       existing file                takes its place
        file       existing dir, or `path/`     path/NAME
        directory  anything but a file          path/NAME/…
        contents   anything but a file          path/…

    Raises InvalidArgumentError for a directory onto a file, and for a file below one.
    """
    wants_directory = target.endswith(("/", "/.")) or target in (".", "..")
    if kind is TargetKind.FILE and (source.is_directory or wants_directory):
        raise InvalidArgumentError(
            f"{target} is not a directory",
            hint="name a directory, or a path that does not exist" if source.is_directory else None,
        )
    if source.contents_only and not source.is_directory:
        raise InvalidArgumentError(f"{source.path} is not a directory")
    if source.is_directory or kind is TargetKind.DIRECTORY or wants_directory:
        return Destination(directory=target, name=source.name)
    directory, name = posixpath.split(target)
    return Destination(directory=directory or ".", name=name)
