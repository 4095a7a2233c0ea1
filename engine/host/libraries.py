"""The files a program needs to start: itself, its loader and its shared libraries, so that a jail can show it these
and no others. Read from the ELF files themselves (elf(5)), which is quicker than asking the loader.
"""

from __future__ import annotations

import functools
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnsupportedError

LOADER_CACHE = Path("/etc/ld.so.cache")
LOADER_CONFIG = Path("/etc/ld.so.conf")
TRUSTED_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
"""Where the loader looks without being told (ld.so(8)); distributions add a directory per architecture."""

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_MULTIARCH = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu"}


@dataclass(frozen=True, slots=True)
class _Elf:
    machine: int
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]


@functools.cache
def libraries_of(binary: str) -> tuple[str, ...]:
    """Paths of `binary`, its loader, every library it needs directly or through another, and the loader's cache.

    Where programs are not ELF files (macOS): the binary alone. Raises UnsupportedError when a library is missing.
    """
    program = _read_elf(Path(binary))
    if program is None:
        return (binary,)
    found: dict[str, str] = {}
    loader = program.interpreter
    system_dirs = tuple(_system_dirs(program.machine))
    waiting = [(program, binary)]
    while waiting:
        elf, path = waiting.pop()
        origin = str(Path(path).resolve().parent)
        own_dirs = tuple(
            part.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for part in elf.search if part
        )
        for name in elf.needed:
            if name in found:
                continue
            located = _locate(name, (*own_dirs, *system_dirs), program.machine)
            if located is None:
                raise UnsupportedError(
                    f"{binary} needs the library {name}, which was not found",
                    hint="reinstall the package that has the program",
                )
            found[name] = located[1]
            waiting.append(located)
    extra = [path for path in (loader, str(LOADER_CACHE)) if path is not None and Path(path).exists()]
    return tuple(dict.fromkeys((binary, *extra, *sorted(found.values()))))


def _locate(name: str, directories: tuple[str, ...], machine: int) -> tuple[_Elf, str] | None:
    paths = (name,) if "/" in name else (f"{directory}/{name}" for directory in directories)
    for path in paths:
        elf = _read_elf(Path(path))
        if elf is not None and elf.machine == machine:
            return elf, path
    return None


def _system_dirs(machine: int) -> Iterator[str]:
    multiarch = _MULTIARCH.get(machine)
    if multiarch:
        yield f"/lib/{multiarch}"
        yield f"/usr/lib/{multiarch}"
    yield from TRUSTED_DIRS
    yield from _configured_dirs(LOADER_CONFIG)


def _configured_dirs(config: Path) -> Iterator[str]:
    if not config.is_file():
        return
    for line in config.read_text(errors="replace").splitlines():
        word = line.partition("#")[0].strip()
        if word.startswith("include"):
            pattern = config.parent / word.removeprefix("include").strip()
            for path in sorted(Path("/").glob(str(pattern).lstrip("/"))):
                yield from _configured_dirs(path)
        elif word:
            yield word


@functools.cache
def _read_elf(path: Path) -> _Elf | None:
    """What a 64-bit little-endian ELF file asks the loader for; None when `path` is no such file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
            return _parse_elf(image) if image[:6] == b"\x7fELF\x02\x01" else None
    except (OSError, ValueError):
        return None


def _parse_elf(image: mmap.mmap) -> _Elf:
    machine, headers_at = struct.unpack_from("<18xH12xQ", image)
    size, count = struct.unpack_from("<54xHH", image)
    loads, dynamic, interpreter = [], None, None
    for number in range(count):
        kind, offset, address, length = struct.unpack_from("<I4xQQ8xQ", image, headers_at + number * size)
        if kind == _PT_LOAD:
            loads.append((address, length, offset))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, length)
        elif kind == _PT_INTERP:
            interpreter = image[offset : offset + length].rstrip(b"\0").decode()
    needed: list[int] = []
    search: list[int] = []
    strings_at = 0
    if dynamic is not None:
        for tag, value in struct.iter_unpack("<qQ", image[dynamic[0] : dynamic[0] + dynamic[1]]):
            if tag == _DT_NEEDED:
                needed.append(value)
            elif tag in (_DT_RPATH, _DT_RUNPATH):
                search.append(value)
            elif tag == _DT_STRTAB:
                strings_at = next(
                    (
                        value - address + offset
                        for address, length, offset in loads
                        if 0 <= value - address < length
                    ),
                    0,
                )
    return _Elf(
        machine=machine,
        interpreter=interpreter,
        needed=tuple(_string(image, strings_at + offset) for offset in needed),
        search=tuple(part for offset in search for part in _string(image, strings_at + offset).split(":")),
    )


def _string(image: mmap.mmap, offset: int) -> str:
    return image[offset : image.find(b"\0", offset)].decode()
