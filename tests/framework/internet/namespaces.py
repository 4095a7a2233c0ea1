"""The two network namespaces, the wire between them, and the names that are known there."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite

HERE = Path(__file__).parent
GOOD, EVIL, OTHER = "93.184.216.34", "93.184.216.66", "93.184.217.5"
GOOD6, EVIL6 = "2606:4700::34", "2606:4700::66"
PRIVATE, SHARED, METADATA, PRIVATE6 = "10.9.8.7", "100.64.3.3", "169.254.169.254", "fd77::7"
OPEN_RESOLVER, DOH = "8.8.8.8", "1.1.1.1"
HOST_HOME, HOST_WORLD = "11.0.0.2", "11.0.0.1"
HOST6, WORLD6 = "2001:db8:b0::2", "2001:db8:b0::1"
WORLD_ADDRESSES = (
    GOOD,
    EVIL,
    OTHER,
    PRIVATE,
    SHARED,
    METADATA,
    OPEN_RESOLVER,
    DOH,
    "6.6.6.6",
    "168.63.129.16",
)
WORLD_ADDRESSES6 = (GOOD6, EVIL6, PRIVATE6)
LONG = tuple(f"93.184.218.{number}" for number in range(1, 61))
"""More addresses than a datagram has room for."""
ZONE: Mapping[str, tuple[str, ...]] = {
    "good.test": (GOOD, GOOD6),
    "four.test": (GOOD,),
    "long.test": LONG,
    "six.test": (GOOD6,),
    "evil.test": (EVIL, EVIL6),
    "other.test": (OTHER,),
    "port.test": (GOOD,),
    "a.wild.test": (GOOD,),
    "b.a.wild.test": (GOOD,),
    "wild.test": (EVIL,),
    "private.test": (PRIVATE,),
    "shared.test": (SHARED,),
    "loop.test": ("127.0.0.1", "::1"),
    "zero.test": ("0.0.0.0",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "meta.test": (METADATA,),
    "link.test": ("fe80::1",),
    "rebind.test": (PRIVATE, GOOD),
    "subnet.test": ("192.168.127.254",),
    "ula.test": (PRIVATE6,),
    "nat64.test": ("64:ff9b::7f00:1",),
    "dns.google": (OPEN_RESOLVER,),
}


@dataclass(frozen=True)
class Internet:
    """What is up. `boxlite` runs the command in the namespace of the host, with its `resolv_conf`; `sniffed` has what came by unasked
    ways."""

    boxlite: Boxlite
    sniffed: Path
    resolv_conf: Path
    home_namespace: str
    world_namespace: str


@dataclass(frozen=True, slots=True)
class NamespacedBoxlite(Boxlite):
    """The command, in a network namespace and with name servers of its own."""

    prefix: tuple[str, ...] = field(default=())

    def argv(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "boxlite_cli", *words]


@contextlib.contextmanager
def small_internet(home: Path, directory: Path) -> Iterator[Internet]:
    """Needs root. Everything of it is gone afterwards."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    inside, world = f"blh{os.getpid()}", f"blw{os.getpid()}"
    sniffed = directory / "sniffed"
    resolv = directory / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    processes: list[subprocess.Popen[str]] = []
    try:
        for namespace in (inside, world):
            _ip("netns", "add", namespace)
        _wire(inside, world)
        processes.append(_serve(world, HERE / "world.py", str(sniffed)))
        processes.append(_serve(inside, HERE / "host.py", str(directory)))
        enter = (
            "nsenter", f"--net=/run/netns/{inside}", "unshare", "--mount", "sh", "-c",
            f'mount --bind {resolv} "$(readlink -f /etc/resolv.conf)" && exec "$@"', "sh",
        )  # fmt: skip
        boxlite = NamespacedBoxlite(home, prefix=enter)
        yield Internet(
            boxlite=boxlite, sniffed=sniffed, resolv_conf=resolv, home_namespace=inside, world_namespace=world
        )
    finally:
        for process in processes:
            process.communicate()
        for namespace in (inside, world):
            subprocess.run(("ip", "netns", "delete", namespace), check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)


def _wire(inside: str, world: str) -> None:
    _ip("link", "add", "bl0", "netns", inside, "type", "veth", "peer", "name", "bl1", "netns", world)
    for namespace, device, address, address6 in (
        (inside, "bl0", HOST_HOME, HOST6),
        (world, "bl1", HOST_WORLD, WORLD6),
    ):
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", device, "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", device)
        _ip("-n", namespace, "-6", "address", "add", f"{address6}/64", "dev", device, "nodad")
    for address in WORLD_ADDRESSES:
        _ip("-n", world, "address", "add", f"{address}/32", "dev", "lo")
    for address in WORLD_ADDRESSES6:
        _ip("-n", world, "-6", "address", "add", f"{address}/128", "dev", "lo", "nodad")
    _ip("-n", inside, "route", "add", "default", "via", HOST_WORLD)
    _ip("-n", inside, "-6", "route", "add", "default", "via", WORLD6)
    subprocess.run(
        ("ip", "netns", "exec", inside, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"),
        check=False, capture_output=True,
    )  # fmt: skip


def _serve(namespace: str, script: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ("nsenter", f"--net=/run/netns/{namespace}", sys.executable, str(script), *arguments),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(f"{script.name} did not start")
    return process


def python_tree(target: Path) -> None:
    """Put a Python that can open sockets, and the probe, into a root file system."""
    from tests.framework.bare_python import interpreter

    python = interpreter()
    linked = subprocess.run(("ldd", python), check=True, capture_output=True, text=True).stdout
    names = [word for word in linked.split() if word.startswith("/")]
    stdlib = subprocess.run(
        (python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"),
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    modules = sorted(Path(stdlib, "lib-dynload").glob("*.so"))
    wanted = (
        "_socket",
        "_json",
        "_queue",
        "_struct",
        "select",
        "math",
        "array",
        "_random",
        "_sha2",
        "_bisect",
        "_posixsubprocess",
        "fcntl",
        "_contextvars",
        "_opcode",
        "_typing",
        "_datetime",
        "_heapq",
        "_statistics",
    )
    chosen = [path for path in modules if path.name.split(".")[0] in wanted]
    for path in (*(Path(name) for name in names), Path(python).resolve()):
        place = target / str(path).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), place)
    library = target / stdlib.lstrip("/")
    shutil.copytree(stdlib, library, ignore=_only_what_is_needed, dirs_exist_ok=True)
    (library / "lib-dynload").mkdir(exist_ok=True)
    for path in chosen:
        shutil.copy(path, library / "lib-dynload" / path.name)
    link = target / "usr/bin/python3"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(Path(python).resolve())
    shutil.copy(HERE / "probe.py", target / "probe.py")


_PACKAGES = {"collections", "concurrent", "encodings", "importlib", "json", "re", "logging"}


def _only_what_is_needed(directory: str, names: Sequence[str]) -> set[str]:
    place = Path(directory)
    if place.name in ("encodings",) or place.parent.name in _PACKAGES or place.name in _PACKAGES:
        return {name for name in names if name == "__pycache__"}
    return {
        name
        for name in names
        if ((place / name).is_dir() and name not in _PACKAGES) or (place / name).suffix not in ("", ".py")
    }
