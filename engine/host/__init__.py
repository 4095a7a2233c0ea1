"""What the host is and allows. The only room that reads the environment and probes the machine it runs on.

environment   settings from variables: home directory, accelerator, limits, proxies
facts         processors, memory, kernel, platform, boot id, free disk space
accel         which accelerators there seem to be, which were found not to work (for this boot)
probe         does an accelerator really run a guest? (a machine of a few bytes)
namespaces    may this user make namespaces? really tried; who forbids it
cgroups       how control groups are mounted, and whether they are ours to use
resolvers     the name servers the host itself uses
programs      where QEMU is; versions of programs
libraries     the shared libraries a program needs (for its jail)
usage         processor time and memory of processes
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.host.accel import AccelVerdict, AccelVerdicts, Candidate, accel_candidates, examine_accels
    from engine.host.cgroups import CgroupMode, Cgroups, find_cgroups
    from engine.host.environment import Settings, read_settings, setting_up_grpc
    from engine.host.facts import (
        boot_id,
        cpu_count,
        free_bytes,
        has_ipv6,
        kernel_release,
        machine_arch,
        memory_mib,
        oci_platform,
        operating_system,
        system_name,
    )
    from engine.host.libraries import libraries_of
    from engine.host.namespaces import NamespaceSupport, probe_namespaces
    from engine.host.probe import probe_accel
    from engine.host.programs import (
        find_qemu,
        parse_version,
        program_version,
        qemu_binary,
        qemu_name,
        qemu_version,
    )
    from engine.host.resolvers import Resolvers, asked_server, find_resolvers, resolver_file
    from engine.host.usage import cpu_time_us, memory_bytes, process_tree

_HOMES = {
    "accel": ("AccelVerdict", "AccelVerdicts", "Candidate", "accel_candidates", "examine_accels"),
    "cgroups": ("CgroupMode", "Cgroups", "find_cgroups"),
    "environment": ("Settings", "read_settings", "setting_up_grpc"),
    "facts": (
        "boot_id", "cpu_count", "free_bytes", "has_ipv6", "kernel_release", "machine_arch", "memory_mib", "oci_platform",
        "operating_system", "system_name",
    ),
    "libraries": ("libraries_of",),
    "namespaces": ("NamespaceSupport", "probe_namespaces"),
    "probe": ("probe_accel",),
    "programs": ("find_qemu", "parse_version", "program_version", "qemu_binary", "qemu_name", "qemu_version"),
    "resolvers": ("Resolvers", "asked_server", "find_resolvers", "resolver_file"),
    "usage": ("cpu_time_us", "memory_bytes", "process_tree"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a module of this room when something of it is first asked for (PEP 562): a command that only wants the
    home directory should not pay for the rest."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


__all__ = [
    "AccelVerdict",
    "AccelVerdicts",
    "Candidate",
    "CgroupMode",
    "Cgroups",
    "NamespaceSupport",
    "Resolvers",
    "Settings",
    "accel_candidates",
    "asked_server",
    "boot_id",
    "cpu_count",
    "cpu_time_us",
    "examine_accels",
    "find_cgroups",
    "find_qemu",
    "find_resolvers",
    "free_bytes",
    "has_ipv6",
    "kernel_release",
    "libraries_of",
    "machine_arch",
    "memory_bytes",
    "memory_mib",
    "oci_platform",
    "operating_system",
    "parse_version",
    "probe_accel",
    "probe_namespaces",
    "process_tree",
    "program_version",
    "qemu_binary",
    "qemu_name",
    "qemu_version",
    "read_settings",
    "resolver_file",
    "setting_up_grpc",
    "system_name",
]
