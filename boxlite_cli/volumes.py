"""Where files come from: the words of `--volume`, `--mount` and `--tmpfs` made into VolumeSpec.

    VOLUME  := SOURCE ':' BOX_PATH [':' OPTS] | BOX_PATH [':' OPTS]
    OPTS    := comma list of ro | rw | nocopy; words that only mean something elsewhere (z, cached, …) are ignored

SOURCE is told apart by its first characters alone, never by looking at the disk: a path (`/`, `./`, `../`, `~`, `\\\\`, a
drive letter) is a directory of the host, anything else names a volume. No SOURCE makes an anonymous volume.
"""

from __future__ import annotations

import re
from pathlib import Path

from boxlite_cli.parsers import parse_size
from engine.errors import InvalidArgumentError
from engine.model import VOLUME_NAME_PATTERN, VolumeKind, VolumeSpec

_DRIVE_PATTERN = re.compile(r"[a-zA-Z]:[\\/]")
_HOST_PREFIXES = ("/", "./", "../", "~", "\\\\")
_OPTION_WORDS = {
    "ro", "rw", "z", "Z", "U", "cached", "consistent", "delegated", "idmap", "nocopy",
    "private", "rprivate", "rshared", "rslave", "shared", "slave",
}  # fmt: skip
_TMPFS_FLAGS = {"rw", "nosuid", "nodev", "noatime", "relatime", "sync", "async"}
"""Of a tmpfs in a box anyway, or without a meaning there."""


def is_host_path(source: str) -> bool:
    """Does the source of a volume name a path of the host rather than a volume?"""
    return (
        source in (".", "..") or source.startswith(_HOST_PREFIXES) or _DRIVE_PATTERN.match(source) is not None
    )


def split_volume(text: str) -> tuple[str | None, str, tuple[str, ...]]:
    """Source (None: anonymous), path in the box and option words of a `--volume` word."""
    drive, rest = (text[:2], text[2:]) if _DRIVE_PATTERN.match(text) else ("", text)
    parts = rest.split(":")
    parts[0] = drive + parts[0]
    match parts:
        case [target] if not drive:
            source, options = None, ""
        case [target, options] if target.startswith("/") and not options.startswith("/") and not drive:
            source = None
            if not set(options.split(",")) <= _OPTION_WORDS:
                raise InvalidArgumentError(f"volume {text!r}: path {options!r} in the box is not absolute")
        case [source, target]:
            options = ""
        case [source, target, options]:
            pass
        case _:
            raise InvalidArgumentError(f"volume {text!r} is not of the form [SOURCE:]BOX_PATH[:ro|rw]")
    if not target.startswith("/"):
        raise InvalidArgumentError(f"volume {text!r}: path {target!r} in the box is not absolute")
    return source, target, tuple(word for word in options.split(",") if word)


def parse_volume(text: str) -> VolumeSpec:
    """One `--volume` word. A host path is made absolute here and must be there."""
    source, target, options = split_volume(text)
    read_only, no_copy = "ro" in options, "nocopy" in options
    if source is None:
        return VolumeSpec(kind=VolumeKind.ANONYMOUS, target=target, read_only=read_only, no_copy=no_copy)
    if is_host_path(source):
        return VolumeSpec(kind=VolumeKind.BIND, source=_existing(source), target=target, read_only=read_only)
    return VolumeSpec(
        kind=VolumeKind.NAMED,
        source=_volume_name(source),
        target=target,
        read_only=read_only,
        no_copy=no_copy,
    )


def _existing(source: str) -> str:
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise InvalidArgumentError(f"volume host path {source} does not exist", hint="create it first")
    return str(path)


def _volume_name(name: str) -> str:
    if not VOLUME_NAME_PATTERN.fullmatch(name):
        raise InvalidArgumentError(
            f"volume name {name!r} is not letters, digits, _ . - (two or more)",
            hint=f"write ./{name} if you mean a directory",
        )
    return name


def parse_mount(text: str) -> VolumeSpec:
    """One `--mount` word: `type=bind|volume|tmpfs,source=…,target=…[,readonly][,tmpfs-size=…][,tmpfs-mode=…]`."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        fields[_MOUNT_KEYS.get(key.strip().lower(), key)] = value if equals else "true"
    unknown = fields.keys() - set(_MOUNT_KEYS.values())
    if unknown:
        raise InvalidArgumentError(f"mount {text!r}: unknown key {min(unknown)!r}")
    kind = fields.get("type", "volume")
    target = fields.get("target", "")
    if not target:
        raise InvalidArgumentError(f"mount {text!r} has no target")
    read_only = fields.get("readonly", "false").lower() in ("true", "1")
    no_copy = fields.get("volume-nocopy", "false").lower() in ("true", "1")
    if no_copy and kind != "volume":
        raise InvalidArgumentError(f"mount {text!r}: volume-nocopy is for volumes")
    source = fields.get("source", "")
    match kind:
        case "bind":
            if not source:
                raise InvalidArgumentError(f"mount {text!r} has no source")
            return VolumeSpec(
                kind=VolumeKind.BIND, source=_existing(source), target=target, read_only=read_only
            )
        case "volume" if source:
            return VolumeSpec(
                kind=VolumeKind.NAMED,
                source=_volume_name(source),
                target=target,
                read_only=read_only,
                no_copy=no_copy,
            )
        case "volume":
            return VolumeSpec(kind=VolumeKind.ANONYMOUS, target=target, read_only=read_only, no_copy=no_copy)
        case "tmpfs":
            if source:
                raise InvalidArgumentError(f"mount {text!r}: a tmpfs has no source")
            return _tmpfs(target, fields.get("tmpfs-size"), fields.get("tmpfs-mode"), read_only=read_only)
    raise InvalidArgumentError(f"mount {text!r}: type is bind, volume or tmpfs, not {kind!r}")


_MOUNT_KEYS = {
    "type": "type",
    "source": "source", "src": "source",
    "target": "target", "dst": "target", "destination": "target",
    "readonly": "readonly", "ro": "readonly",
    "tmpfs-size": "tmpfs-size", "tmpfs-mode": "tmpfs-mode", "volume-nocopy": "volume-nocopy",
}  # fmt: skip


def parse_tmpfs(text: str) -> VolumeSpec:
    """One `--tmpfs` word: `BOX_PATH[:size=64m,mode=1777,ro,exec]`. As in Docker, no program can be started from it unless
    `exec` is said."""
    target, _, words = text.partition(":")
    size = mode = None
    read_only = executes = False
    for word in filter(None, words.split(",")):
        key, equals, value = word.partition("=")
        if key == "size" and equals:
            size = value
        elif key == "mode" and equals:
            mode = value
        elif word == "ro":
            read_only = True
        elif word in ("exec", "noexec"):
            executes = word == "exec"
        elif word not in _TMPFS_FLAGS:
            raise InvalidArgumentError(f"tmpfs {text!r}: unknown option {word!r}")
    return _tmpfs(target, size, mode, read_only=read_only, executes=executes)


def _tmpfs(
    target: str, size: str | None, mode: str | None, *, read_only: bool, executes: bool = False
) -> VolumeSpec:
    try:
        mode_bits = int(mode, 8) if mode is not None else None
    except ValueError:
        raise InvalidArgumentError(f"tmpfs mode {mode!r} is not an octal number like 1777") from None
    return VolumeSpec(
        kind=VolumeKind.TMPFS,
        target=target,
        read_only=read_only,
        tmpfs_size_bytes=parse_size(size) if size is not None else None,
        tmpfs_mode=mode_bits,
        tmpfs_exec=executes,
    )
