"""Lay an image's layers over one another, in memory, by their headers alone.

Each layer's entries are applied to a tree the way the OCI image specification (layer.md) says a layer is applied to a
root file system: first its whiteouts, which concern only what lower layers brought, then its entries in their order. The
tree holds no data, just where they lie. Nothing here touches the host's file system, so a path can lead nowhere but to
another place of the tree: `..` stops at the root, and links are followed inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.disks.tar_entry import EntryKind, TarEntry
from engine.errors import ImageError, ResourceExhaustedError

MAX_NODES = 2_000_000
"""Files and directories of one image; more would take gigabytes to hold."""

_WHITEOUT = b".wh."
_AUFS = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_NAME_MAX_BYTES = 255
_PATH_MAX_BYTES = 4095
_MAX_LINKS_FOLLOWED = 40
_DIRECTORY_MODE = 0o755
_DEVICE_MAJOR_MAX = (1 << 12) - 1
_DEVICE_MINOR_MAX = (1 << 20) - 1
_FILE_MAX_BYTES = (1 << 44) - (1 << 12)
"""ext4 with blocks of 4 KiB (Documentation/filesystems/ext4, "Blocks")."""
_MTIME_MIN_NS = -(1 << 31) * 10**9
_MTIME_MAX_NS = ((1 << 34) - (1 << 31)) * 10**9 - 1
"""What ext4's 34 bits of seconds can say (Documentation/filesystems/ext4, "Inode Timestamps")."""
XATTR_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")


@dataclass(slots=True, eq=False)
class Inode:
    """A file that one or more names stand for: its entry and the layer (counted from 0) that holds its data."""

    entry: TarEntry
    layer: int
    number: int = 0
    links: int = 0
    """How it is known in the file system that is made of the tree, and by how many names: see `number_tree`."""


@dataclass(slots=True, eq=False)
class Node:
    """A name in the tree; `children` is None unless it is a directory."""

    inode: Inode
    children: dict[bytes, Node] | None = None


@dataclass(slots=True, eq=False)
class Tree:
    """A root file system in the making."""

    root: Node = field(default_factory=lambda: _new_directory(0, 0))
    node_count: int = 1

    def apply(self, layer: int, entries: Iterable[TarEntry], *, what: str) -> None:
        """Lay the entries of `layer` over what is there. `what` names the layer in messages.

        Raises ImageError for entries that no root file system can have, ResourceExhaustedError for too many of them.
        """
        _Application(self, layer, what).run(entries)

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Every name with its path, without a leading slash, parents first and in byte order; the root is `b""`."""
        stack = [(b"", self.root)]
        while stack:
            path, node = stack.pop()
            yield path, node
            if node.children:
                prefix = path + b"/" if path else b""
                stack += [
                    (prefix + name, node.children[name]) for name in sorted(node.children, reverse=True)
                ]

    def find(self, path: bytes) -> Node | None:
        """The node at `path`; no link is followed."""
        node = self.root
        for name in path.split(b"/"):
            if not name:
                continue
            found = (node.children or {}).get(name)
            if found is None:
                return None
            node = found
        return node


@dataclass(slots=True, eq=False)
class _Application:
    tree: Tree
    layer: int
    what: str

    def run(self, entries: Iterable[TarEntry]) -> None:
        placed: list[tuple[list[bytes], TarEntry]] = []
        whiteouts: list[tuple[list[bytes], bytes]] = []
        for entry in entries:
            names = self._names(entry.path)
            if names and names[-1].startswith(_WHITEOUT):
                whiteouts.append((names[:-1], names[-1]))
            else:
                placed.append((names, entry))
            if self.tree.node_count + len(placed) > MAX_NODES:
                raise ResourceExhaustedError(f"{self.what}: the image has more than {MAX_NODES} files")
        for directory, name in whiteouts:
            self._white_out(directory, name)
        waiting = [pair for pair in placed if not self._place(*pair)]
        while waiting:  # links that come before what they link to
            left = [pair for pair in waiting if not self._place(*pair)]
            if len(left) == len(waiting):
                entry = left[0][1]
                raise ImageError(
                    f"{self.what} has a hard link {_shown(entry.path)} to {_shown(entry.link)}, which does not exist"
                )
            waiting = left

    def _names(self, path: bytes) -> list[bytes]:
        """The components of a path, `.` and `..` resolved, never above the root."""
        names: list[bytes] = []
        for name in path.split(b"/"):
            if name == b"..":
                if names:
                    names.pop()
            elif name and name != b".":
                if len(name) > _NAME_MAX_BYTES:
                    raise ImageError(
                        f"{self.what} has a name longer than {_NAME_MAX_BYTES} bytes: {_shown(name)}"
                    )
                names.append(name)
        if len(path) > _PATH_MAX_BYTES:
            raise ImageError(f"{self.what} has a path longer than {_PATH_MAX_BYTES} bytes: {_shown(path)}")
        return names

    def _white_out(self, directory: list[bytes], name: bytes) -> None:
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise ImageError(f"{self.what} has a whiteout of {_shown(hidden)}, which is no name")
        parent = self._directory(directory, make_for=None)
        if parent is None or parent.children is None:
            return
        if name == _OPAQUE:
            parent.children.clear()
        elif not name.startswith(_AUFS):
            parent.children.pop(hidden, None)

    def _place(self, names: list[bytes], entry: TarEntry) -> bool:
        """False: a hard link whose target is not there (yet)."""
        if not names:
            if entry.kind is EntryKind.DIRECTORY:
                self.tree.root.inode = self._checked(entry)
            return True
        if entry.kind is EntryKind.HARDLINK:
            target = self._link_target(entry)
            if target is None:
                return False
            self._put(names, entry, target)
            return True
        self._put(names, entry, self._checked(entry))
        return True

    def _put(self, names: list[bytes], entry: TarEntry, inode: Inode) -> None:
        parent = self._directory(names[:-1], make_for=entry)
        assert parent is not None and parent.children is not None
        name = names[-1]
        old = parent.children.get(name)
        if inode.entry.kind is not EntryKind.DIRECTORY:
            if old is None or old.inode is not inode:
                parent.children[name] = Node(inode)
        elif old is not None and old.children is not None:
            old.inode = inode
        else:
            parent.children[name] = Node(inode, {})
        self.tree.node_count += old is None

    def _link_target(self, entry: TarEntry) -> Inode | None:
        names = self._names(entry.link)
        parent = self._directory(names[:-1], make_for=None)
        node = (parent.children or {}).get(names[-1]) if parent is not None and names else None
        if node is None:
            return None
        if node.children is not None:
            raise ImageError(f"{self.what} has a hard link {_shown(entry.path)} to a directory")
        return node.inode

    def _directory(self, names: list[bytes], *, make_for: TarEntry | None) -> Node | None:
        """The directory at `names`, symbolic links on the way followed inside the tree.

        With `make_for`, what is missing is made, as is what a file stands in the way of; without it, None.
        """
        trail = [self.tree.root]
        todo = names[::-1]
        links_left = _MAX_LINKS_FOLLOWED
        while todo:
            name = todo.pop()
            if name == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            children = trail[-1].children
            assert children is not None
            node = children.get(name)
            if node is not None and node.inode.entry.kind is EntryKind.SYMLINK:
                links_left -= 1
                if links_left < 0:
                    raise ImageError(
                        f"{self.what} has symbolic links that lead in a circle at {_shown(b'/'.join(names))}"
                    )
                target = node.inode.entry.link
                if target.startswith(b"/"):
                    del trail[1:]
                todo += [part for part in target.split(b"/") if part not in (b"", b".")][::-1]
                if len(todo) > _PATH_MAX_BYTES:
                    raise ImageError(
                        f"{self.what} has symbolic links that lead too deep at {_shown(b'/'.join(names))}"
                    )
                continue
            if node is None or node.children is None:
                if make_for is None:
                    return None
                self.tree.node_count += node is None
                node = children[name] = _new_directory(make_for.mtime_ns, self.layer)
            trail.append(node)
        return trail[-1]

    def _checked(self, entry: TarEntry) -> Inode:
        where = f"{self.what} has {_shown(entry.path)}"
        if entry.kind is EntryKind.SYMLINK and not 0 < len(entry.link) <= _PATH_MAX_BYTES:
            raise ImageError(f"{where}, a symbolic link to a path of {len(entry.link)} bytes")
        if entry.dev_major > _DEVICE_MAJOR_MAX or entry.dev_minor > _DEVICE_MINOR_MAX:
            raise ImageError(
                f"{where}, a device with the impossible number {entry.dev_major}:{entry.dev_minor}"
            )
        if entry.size_bytes > _FILE_MAX_BYTES:
            raise ImageError(
                f"{where}, a file of {entry.size_bytes} bytes; the largest possible one has {_FILE_MAX_BYTES}"
            )
        entry.mtime_ns = storable_time(entry.mtime_ns)
        if entry.xattrs:
            entry.xattrs = tuple(pair for pair in entry.xattrs if pair[0].startswith(XATTR_NAMESPACES))
        return Inode(entry, self.layer)


def _new_directory(mtime_ns: int, layer: int) -> Node:
    entry = TarEntry(
        path=b"", kind=EntryKind.DIRECTORY, mode=_DIRECTORY_MODE, mtime_ns=storable_time(mtime_ns)
    )
    return Node(Inode(entry, layer), {})


def storable_time(mtime_ns: int) -> int:
    """The nearest time that ext4 can hold."""
    return min(max(mtime_ns, _MTIME_MIN_NS), _MTIME_MAX_NS)


def _shown(raw: bytes) -> str:
    return repr(raw[:80])[1:]
