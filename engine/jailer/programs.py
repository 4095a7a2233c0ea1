"""What a program needs to be started at all, as grants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine import host
from engine.jailer.grants import Grant, read, run

MANY_LIBRARIES = 8


def program_grants(binary: str) -> Iterator[Grant]:
    """A program and what it loads. A directory that holds many of its libraries is shown whole: bubblewrap takes a third
    of a millisecond a path, and QEMU has fifty libraries, nearly all in one directory of public files."""
    by_directory: dict[str, list[str]] = {}
    loaders = {path for path in host.libraries_of(binary) if Path(path).name.startswith("ld-")}
    yield run(binary)
    for path in host.libraries_of(binary):
        if path == binary or path in loaders:
            continue
        by_directory.setdefault(str(Path(path).parent), []).append(path)
    for directory, paths in by_directory.items():
        if len(paths) >= MANY_LIBRARIES:
            yield read(directory)
        else:
            yield from (read(path) for path in paths)
    yield from (run(path) for path in sorted(loaders))
