"""Facts about the host that are cheap to ask for."""

from __future__ import annotations

import os
import platform
import socket
import sys
from pathlib import Path

from engine.errors import UnsupportedError

_OUTSIDE_IPV6 = "2001:4860:4860::8888"
"""An address of the public internet; it is only looked up in the routing table."""

OCI_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""Names of `uname -m` → those of OCI images (GOARCH; image-spec, image-index.md)."""


def operating_system() -> str:
    """`linux` or `darwin`."""
    return sys.platform


def machine_arch() -> str:
    """The processor as QEMU names it: `x86_64` or `aarch64`. Raises UnsupportedError for any other."""
    match OCI_ARCHITECTURES.get(os.uname().machine):
        case "amd64":
            return "x86_64"
        case "arm64":
            return "aarch64"
    raise UnsupportedError(f"the processor {os.uname().machine} is not one that boxes run on (x86_64, arm64)")


def oci_platform() -> str:
    """The platform of images for this host: boxes run Linux whatever the host runs (`linux/amd64`)."""
    return f"linux/{OCI_ARCHITECTURES[machine_arch()]}"


def kernel_release() -> str:
    return os.uname().release


def system_name() -> str:
    """The distribution or system, for people: `Debian GNU/Linux 12 (bookworm)`, `macOS 15.1`."""
    if operating_system() == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return os_release().get("PRETTY_NAME", "Linux")


def os_release() -> dict[str, str]:
    """The fields of os-release(5); empty where there is none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def cpu_count() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_mib() -> int:
    """The host's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def free_bytes(path: Path) -> int:
    """What an ordinary user may still write on the file system that `path`, or its nearest existing parent, is on."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    space = os.statvfs(there)
    return space.f_bavail * space.f_frsize


def has_ipv6() -> bool:
    """Is there a way to the outside over IPv6? No packet is sent for that."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_OUTSIDE_IPV6, 53))
        except OSError:
            return False
    return True


def boot_id() -> str:
    """A string that differs from one boot of the host to the next (proc_sys_kernel(5), random/boot_id)."""
    if operating_system() == "darwin":
        return _sysctl("kern.bootsessionuuid")
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def hypervisor_framework() -> bool:
    """Can a Mac's processor run machines (kern.hv_support)?"""
    if operating_system() != "darwin":
        return False
    return _sysctl_number("kern.hv_support") == 1


def _sysctl(name: str) -> str:
    import ctypes

    size = ctypes.c_size_t(256)
    buffer = ctypes.create_string_buffer(size.value)
    _sysctlbyname(name, buffer, size)
    return buffer.value.decode()


def _sysctl_number(name: str) -> int:
    import ctypes

    value = ctypes.c_int(0)
    size = ctypes.c_size_t(ctypes.sizeof(value))
    _sysctlbyname(name, ctypes.byref(value), size)
    return value.value


def _sysctlbyname(name: str, target: object, size: object) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sysctlbyname(name.encode(), target, ctypes.byref(size), None, 0) != 0:  # type: ignore[arg-type]
        raise OSError(ctypes.get_errno(), f"sysctl {name}")
