from __future__ import annotations

import lzma

import pytest

from engine.errors import EngineError
from engine.vmm.kernel_modules import load_modules, module_name


def _module(*depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"


def test_load_modules_orders_dependencies_first() -> None:
    files = {
        "k/fs/ext4.ko.xz": lzma.compress(_module("jbd2", "crc16")),
        "k/fs/jbd2.ko": _module("crc16"),
        "k/lib/crc16.ko": _module(),
        "k/net/unrelated.ko": _module("nothing-there"),
    }

    loaded = load_modules(["ext4"], files, frozenset())

    assert list(loaded) == ["crc16", "jbd2", "ext4"]
    assert loaded["ext4"] == _module("jbd2", "crc16")


def test_load_modules_skips_what_the_kernel_has_built_in() -> None:
    assert list(load_modules(["9p"], {"9p.ko": _module("netfs")}, frozenset({"netfs"}))) == ["9p"]


def test_load_modules_missing_module_raises_naming_it() -> None:
    with pytest.raises(EngineError, match="no module 9pnet"):
        load_modules(["9p"], {"9p.ko": _module("9pnet")}, frozenset())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b/virtio-rng.ko.xz", "virtio_rng"),
        ("kernel/fs/fuse/fuse.ko", "fuse"),
        ("modules.order", None),
    ],
)
def test_module_name_of_a_path(path: str, name: str | None) -> None:
    assert module_name(path) == name
