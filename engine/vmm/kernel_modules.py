"""Which kernel modules the guest needs, and the order they load in.

A module names what it depends on in its own `.modinfo` section (`depends=a,b`), so no depmod has to be run.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping

from engine.errors import EngineError

ROOT_MODULES = ("virtio_mmio", "virtio_blk", "crc32c_generic", "ext4")
"""To reach the root; crc32c_generic is asked for by ext4 through the crypto interface, not by name."""

BOX_MODULES = ("virtio_net", "9pnet_virtio", "9p", "overlay", "virtio_rng")

_COMPRESSED_SUFFIX = ".ko.xz"
_SUFFIXES = (".ko", _COMPRESSED_SUFFIX)


def module_name(path: str) -> str | None:
    """The name of the module a path holds, or None when it holds none. `-` and `_` are the same in names."""
    base = path.rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if base.endswith(suffix):
            return _canonical(base.removesuffix(suffix))
    return None


def module_dependencies(content: bytes) -> tuple[str, ...]:
    """The modules that must be loaded before this one (an ELF object, not compressed)."""
    marker = b"\0depends="
    start = content.find(marker)
    if start < 0:
        return ()
    start += len(marker)
    names = content[start : content.index(b"\0", start)].decode()
    return tuple(_canonical(name) for name in names.split(",") if name)


def load_modules(
    wanted: Iterable[str], files: Mapping[str, bytes], builtin: frozenset[str]
) -> dict[str, bytes]:
    """Return the objects (not compressed) of `wanted` and of all they depend on, by name, in an order to load them in.

    `files` maps paths (`….ko`, `….ko.xz`) to contents. Raises EngineError for a module that is neither there nor
    built into the kernel."""
    paths = {name: path for path in files if (name := module_name(path))}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in order or name in builtin:
            return
        if name not in paths:
            raise EngineError(
                f"the guest kernel has no module {name}",
                hint="build the guest image from Debian's linux-image package, not the cloud kernel",
            )
        content = files[paths[name]]
        if paths[name].endswith(_COMPRESSED_SUFFIX):
            content = lzma.decompress(content)
        for dependency in module_dependencies(content):
            add(dependency)
        order[name] = content

    for name in wanted:
        add(_canonical(name))
    return order


def _canonical(name: str) -> str:
    return name.replace("-", "_")
