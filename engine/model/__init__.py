"""The vocabulary: what a box is asked to be (`BoxSpec`), what it is now (`BoxState`), and the values
that stages hand to one another. Everything here is frozen; a stage takes one value and returns one.

Units are in the names: `memory_mib`, `size_bytes`, `timeout_s`. Times are aware UTC datetimes.

A module of it is loaded when something of it is first asked for (PEP 562): a command needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.model.box import (
        BOX_ID_PATTERN,
        ENV_NAME_PATTERN,
        HOSTNAME_PATTERN,
        NAME_PATTERN,
        SPEC_SCHEMA,
        BoxSpec,
        HealthCheck,
        RestartKind,
        RestartPolicy,
        Ulimit,
        VolumeKind,
        VolumeSpec,
    )
    from engine.model.config import Accel, RegistryConfig, RuntimeConfig
    from engine.model.execution import ExecSpec, ExitStatus, LogRecord, TerminalSize
    from engine.model.files import FileInfo, FileKind
    from engine.model.image import Image, ImageConfig, Layer, PullPolicy, RootfsDisk
    from engine.model.limits import (
        DEFAULT_CPUS,
        DEFAULT_DISK_SIZE_GB,
        DEFAULT_IMAGE,
        DEFAULT_MEMORY_MIB,
        DEFAULT_STOP_TIMEOUT_S,
        MAX_CPUS,
        MAX_DISK_SIZE_GB,
        MAX_MEMORY_MIB,
        MIN_MEMORY_MIB,
    )
    from engine.model.network import NetworkMode, NetworkSpec, PortSpec, Protocol
    from engine.model.record import BoxRecord, BoxState, ListedBox, ListedSpec, StageTimings
    from engine.model.secrets import MAX_SECRET_LENGTH, Secret, SecretSource, SecretSpec
    from engine.model.security import DOCKER_CAPABILITIES, SecurityOptions
    from engine.model.status import TRANSITIONS, BoxStatus, HealthState, check_transition, utc_now
    from engine.model.system import Check, CheckStatus, DiskUsage, Reclaimable, RuntimeInfo
    from engine.model.volume import VOLUME_NAME_PATTERN, Volume

_HOMES = {
    "box": (
        "BOX_ID_PATTERN", "ENV_NAME_PATTERN", "HOSTNAME_PATTERN", "NAME_PATTERN", "SPEC_SCHEMA", "BoxSpec", "HealthCheck",
        "RestartKind", "RestartPolicy", "Ulimit", "VolumeKind", "VolumeSpec",
    ),
    "config": ("Accel", "RegistryConfig", "RuntimeConfig"),
    "execution": ("ExecSpec", "ExitStatus", "LogRecord", "TerminalSize"),
    "files": ("FileInfo", "FileKind"),
    "image": ("Image", "ImageConfig", "Layer", "PullPolicy", "RootfsDisk"),
    "limits": (
        "DEFAULT_CPUS", "DEFAULT_MEMORY_MIB", "DEFAULT_DISK_SIZE_GB", "DEFAULT_STOP_TIMEOUT_S", "DEFAULT_IMAGE",
        "MIN_MEMORY_MIB", "MAX_MEMORY_MIB", "MAX_CPUS", "MAX_DISK_SIZE_GB",
    ),
    "network": ("NetworkMode", "NetworkSpec", "PortSpec", "Protocol"),
    "record": ("BoxRecord", "BoxState", "ListedBox", "ListedSpec", "StageTimings"),
    "secrets": ("MAX_SECRET_LENGTH", "Secret", "SecretSource", "SecretSpec"),
    "security": ("DOCKER_CAPABILITIES", "SecurityOptions"),
    "status": ("TRANSITIONS", "BoxStatus", "HealthState", "check_transition", "utc_now"),
    "system": ("Check", "CheckStatus", "DiskUsage", "Reclaimable", "RuntimeInfo"),
    "volume": ("VOLUME_NAME_PATTERN", "Volume"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return value


__all__ = [
    "BOX_ID_PATTERN",
    "DEFAULT_CPUS",
    "DEFAULT_DISK_SIZE_GB",
    "DEFAULT_IMAGE",
    "DEFAULT_MEMORY_MIB",
    "DEFAULT_STOP_TIMEOUT_S",
    "DOCKER_CAPABILITIES",
    "ENV_NAME_PATTERN",
    "HOSTNAME_PATTERN",
    "MAX_CPUS",
    "MAX_DISK_SIZE_GB",
    "MAX_MEMORY_MIB",
    "MAX_SECRET_LENGTH",
    "MIN_MEMORY_MIB",
    "NAME_PATTERN",
    "SPEC_SCHEMA",
    "TRANSITIONS",
    "VOLUME_NAME_PATTERN",
    "Accel",
    "BoxRecord",
    "BoxSpec",
    "BoxState",
    "BoxStatus",
    "Check",
    "CheckStatus",
    "DiskUsage",
    "ExecSpec",
    "ExitStatus",
    "FileInfo",
    "FileKind",
    "HealthCheck",
    "HealthState",
    "Image",
    "ImageConfig",
    "Layer",
    "ListedBox",
    "ListedSpec",
    "LogRecord",
    "NetworkMode",
    "NetworkSpec",
    "PortSpec",
    "Protocol",
    "PullPolicy",
    "Reclaimable",
    "RegistryConfig",
    "RestartKind",
    "RestartPolicy",
    "RootfsDisk",
    "RuntimeConfig",
    "RuntimeInfo",
    "Secret",
    "SecretSource",
    "SecretSpec",
    "SecurityOptions",
    "StageTimings",
    "TerminalSize",
    "Ulimit",
    "Volume",
    "VolumeKind",
    "VolumeSpec",
    "check_transition",
    "utc_now",
]
