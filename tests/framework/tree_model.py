"""What a file tree is by the definition of its layers (OCI image-spec, layer.md), said as simply as it can be: the measure
for what is in a box. Shapes are those of `tree_lister`."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.framework.image_builder import Entry
from tests.framework.tree_lister import SAMPLE_BYTES, WHOLE_BYTES

Listing = dict[bytes, tuple[Any, ...]]
MTIME, FIRST = 4, 10
_KINDS = {
    tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Huge:
    """The content of a file that is too long to write down: all zeros but for the last byte."""

    size: int
    last: bytes

    def __len__(self) -> int:
        return self.size


@dataclass
class _Node:
    """A file, whatever its names. `entry` None: a directory that no entry describes."""

    entry: Entry | None
    content: bytes | Huge = b""
    paths: set[bytes] = field(default_factory=set)


def expected(layers: Sequence[Sequence[Entry]], huge: Mapping[bytes, Huge] | None = None) -> Listing:
    """The tree that the layers make. `huge` is the content of files whose entries cannot hold it."""
    tree: dict[bytes, _Node] = {}
    for entries in layers:
        _hide(tree, entries)
        for entry in entries:
            _add(tree, entry, huge or {})
    for path, node in tree.items():
        node.paths.add(path)
    return {path: _row(path, node) for path, node in tree.items()}


def normal(listing: Listing) -> Listing:
    """The listing with each hard link's first path being the least of them."""
    groups: dict[bytes, set[bytes]] = {}
    for path, row in listing.items():
        groups.setdefault(row[FIRST], set()).add(path)
    return {path: (*row[:FIRST], min(groups[row[FIRST]])) for path, row in listing.items()}


def differences(listing: Listing, wanted: Listing) -> list[str]:
    """What of `listing` is not as in `wanted`, a line each; an mtime of None is any."""
    lines = [f"missing: {path!r}" for path in wanted.keys() - listing.keys()]
    lines += [f"not asked for: {path!r} {listing[path]}" for path in listing.keys() - wanted.keys()]
    for path in listing.keys() & wanted.keys():
        want, have = wanted[path], listing[path]
        if want[MTIME] is None:
            want = (*want[:MTIME], have[MTIME], *want[MTIME + 1 :])
        if want != have:
            lines.append(f"{path!r} is {have}, not {want}")
    return sorted(lines)


def _hide(tree: dict[bytes, _Node], entries: Sequence[Entry]) -> None:
    """Whiteouts concern lower layers alone, wherever in the archive they stand."""
    for entry in entries:
        parent, _, name = _path(entry.name).rpartition(b"/")
        prefix = parent + b"/" if parent else b""
        if name == b".wh..wh..opq":
            _drop(tree, [path for path in tree if path.startswith(prefix)])
        elif name.startswith(b".wh."):
            hidden = prefix + name.removeprefix(b".wh.")
            _drop(tree, [path for path in tree if path == hidden or path.startswith(hidden + b"/")])


def _add(tree: dict[bytes, _Node], entry: Entry, huge: Mapping[bytes, Huge]) -> None:
    path = _path(entry.name)
    if not path or path.rpartition(b"/")[2].startswith(b".wh."):
        return
    parents = path.split(b"/")[:-1]
    for count in range(1, len(parents) + 1):
        tree.setdefault(b"/".join(parents[:count]), _Node(entry=None))
    old = tree.get(path)
    both_directories = old is not None and _kind(old) == "directory" and entry.kind == tarfile.DIRTYPE
    if old is not None and not both_directories:
        _drop(tree, [other for other in tree if other == path or other.startswith(path + b"/")])
    if entry.kind == tarfile.LNKTYPE:
        tree[path] = tree[_path(entry.link)]
    else:
        tree[path] = _Node(entry=entry, content=huge.get(path, entry.content))


def _drop(tree: dict[bytes, _Node], paths: Sequence[bytes]) -> None:
    for path in paths:
        del tree[path]


def _kind(node: _Node) -> str:
    return "directory" if node.entry is None else _KINDS[node.entry.kind]


def _row(path: bytes, node: _Node) -> tuple[Any, ...]:
    entry, kind = node.entry, _kind(node)
    if entry is None:
        return (kind, 0o755, 0, 0, None, 0, b"", (0, 0), (), "", path)
    return (
        kind,
        entry.mode,
        entry.uid,
        entry.gid,
        int(Decimal(entry.pax.get("mtime", str(entry.mtime))) * 10**9),
        len(node.content) if kind == "file" else 0,
        _bytes(entry.link) if kind == "symlink" else b"",
        entry.device,
        tuple(sorted(entry.xattrs.items())),
        _digest(node.content) if kind == "file" else "",
        path if kind == "directory" else min(node.paths),
    )


def _digest(content: bytes | Huge) -> str:
    if isinstance(content, Huge):
        assert content.size > WHOLE_BYTES
        return hashlib.sha256(bytes(2 * SAMPLE_BYTES - 1) + content.last).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _path(name: str | bytes) -> bytes:
    """`./a//b/` → `a/b`."""
    return b"/".join(part for part in _bytes(name).split(b"/") if part not in (b"", b"."))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def entries_of(archive: bytes) -> list[Entry]:
    """The entries of an archive, as tarfile reads them."""
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        return [
            Entry(
                name=member.name,
                kind=member.type,
                content=_content(tar, member),
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                mtime=member.mtime,
                link=member.linkname,
                device=(member.devmajor, member.devminor) if member.isdev() else (0, 0),
            )
            for member in tar
        ]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = tar.extractfile(member) if member.isreg() else None
    return source.read() if source else b""
