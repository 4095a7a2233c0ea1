"""Run any OCI image in a micro-VM of its own, from Python.

    async with boxlite.SimpleBox("alpine:3.20") as box:
        result = await box.exec("uname", "-r")
        print(result.stdout)

Async first; nothing is loaded before it is used, and no daemon is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxlite.box import Box
    from boxlite.errors import (
        AlreadyExistsError,
        BoxliteError,
        CommandNotExecutableError,
        CommandNotFoundError,
        ConfigError,
        DatabaseError,
        DeadlineError,
        DeniedError,
        DirectoryNotEmptyError,
        EngineError,
        ExecError,
        ExecutionError,
        ImageError,
        ImageNotFoundError,
        InternalError,
        InvalidArgumentError,
        InvalidStateError,
        IsDirectoryError,
        JailError,
        MetadataError,
        NetworkError,
        NotDirectoryError,
        NotFoundError,
        PortalError,
        PortInUseError,
        ReadOnlyError,
        RegistryAuthError,
        ResourceExhaustedError,
        RpcError,
        RpcTransportError,
        StoppedError,
        StorageError,
        TimeoutError,  # noqa: A004
        UnsupportedEngineError,
        UnsupportedError,
    )
    from boxlite.execution import ExecResult, Execution
    from boxlite.images import Images
    from boxlite.interactive import InteractiveBox
    from boxlite.listening import EventListener
    from boxlite.network import BoxConnection, BoxNetwork, BoxTunnel, SocketAddress, TunnelForwarder
    from boxlite.options import (
        AdvancedBoxOptions,
        BoxOptions,
        ContainerCapabilities,
        HealthCheckOptions,
        ImageRegistry,
        InboundNetworkSpec,
        NetworkSpec,
        Options,
        OutboundNetworkSpec,
        PortMapping,
        Secret,
        VolumeMount,
    )
    from boxlite.runtime import Boxlite
    from boxlite.security import SecurityOptions
    from boxlite.simplebox import CodeBox, SimpleBox
    from boxlite.streams import Input, Output
    from boxlite.sync import (
        SyncBox,
        SyncBoxlite,
        SyncImages,
        SyncVolumes,
    )
    from boxlite.sync_execution import SyncExecution, SyncInput, SyncOutput
    from boxlite.sync_network import SyncBoxConnection, SyncBoxNetwork, SyncBoxTunnel, SyncTunnelForwarder
    from boxlite.sync_simplebox import SyncCodeBox, SyncInteractiveBox, SyncSimpleBox
    from boxlite.values import (
        BoxInfo,
        BoxStateInfo,
        HealthReport,
        ImageInfo,
        PublishedPort,
        RuntimeMetrics,
        StaleItem,
        VolumeInfo,
    )
    from boxlite.volumes import Volumes
    from engine.events import BoxEvent, EventKind
    from engine.metrics import BoxMetrics
    from engine.model import BoxStatus, FileInfo, FileKind, HealthState, PullPolicy
    from engine.version import __version__

__all__ = [
    "AdvancedBoxOptions",
    "AlreadyExistsError",
    "Box",
    "BoxConnection",
    "BoxEvent",
    "BoxInfo",
    "BoxMetrics",
    "BoxNetwork",
    "BoxOptions",
    "BoxStateInfo",
    "BoxStatus",
    "BoxTunnel",
    "Boxlite",
    "BoxliteError",
    "CodeBox",
    "CommandNotExecutableError",
    "CommandNotFoundError",
    "ConfigError",
    "ContainerCapabilities",
    "DatabaseError",
    "DeadlineError",
    "DeniedError",
    "DirectoryNotEmptyError",
    "EngineError",
    "EventKind",
    "EventListener",
    "ExecError",
    "ExecResult",
    "Execution",
    "ExecutionError",
    "FileInfo",
    "FileKind",
    "HealthCheckOptions",
    "HealthReport",
    "HealthState",
    "ImageError",
    "ImageInfo",
    "ImageNotFoundError",
    "ImageRegistry",
    "Images",
    "InboundNetworkSpec",
    "Input",
    "InteractiveBox",
    "InternalError",
    "InvalidArgumentError",
    "InvalidStateError",
    "IsDirectoryError",
    "JailError",
    "MetadataError",
    "NetworkError",
    "NetworkSpec",
    "NotDirectoryError",
    "NotFoundError",
    "Options",
    "OutboundNetworkSpec",
    "Output",
    "PortInUseError",
    "PortMapping",
    "PortalError",
    "PublishedPort",
    "PullPolicy",
    "ReadOnlyError",
    "RegistryAuthError",
    "ResourceExhaustedError",
    "RpcError",
    "RpcTransportError",
    "RuntimeMetrics",
    "Secret",
    "SecurityOptions",
    "SimpleBox",
    "SocketAddress",
    "StaleItem",
    "StoppedError",
    "StorageError",
    "SyncBox",
    "SyncBoxConnection",
    "SyncBoxNetwork",
    "SyncBoxTunnel",
    "SyncBoxlite",
    "SyncCodeBox",
    "SyncExecution",
    "SyncImages",
    "SyncInput",
    "SyncInteractiveBox",
    "SyncOutput",
    "SyncSimpleBox",
    "SyncTunnelForwarder",
    "SyncVolumes",
    "TimeoutError",
    "TunnelForwarder",
    "UnsupportedEngineError",
    "UnsupportedError",
    "VolumeInfo",
    "VolumeMount",
    "Volumes",
    "__version__",
]

_MODULES = {
    "boxlite.box": ("Box",),
    "boxlite.errors": (
        "AlreadyExistsError",
        "BoxliteError",
        "CommandNotExecutableError",
        "CommandNotFoundError",
        "ConfigError",
        "DatabaseError",
        "DeadlineError",
        "DeniedError",
        "DirectoryNotEmptyError",
        "EngineError",
        "ExecError",
        "ExecutionError",
        "ImageError",
        "ImageNotFoundError",
        "InternalError",
        "InvalidArgumentError",
        "InvalidStateError",
        "IsDirectoryError",
        "JailError",
        "MetadataError",
        "NetworkError",
        "NotDirectoryError",
        "NotFoundError",
        "PortInUseError",
        "PortalError",
        "ReadOnlyError",
        "RegistryAuthError",
        "ResourceExhaustedError",
        "RpcError",
        "RpcTransportError",
        "StoppedError",
        "StorageError",
        "TimeoutError",
        "UnsupportedEngineError",
        "UnsupportedError",
    ),
    "boxlite.execution": ("ExecResult", "Execution"),
    "boxlite.images": ("Images",),
    "boxlite.interactive": ("InteractiveBox",),
    "boxlite.listening": ("EventListener",),
    "boxlite.network": (
        "BoxConnection",
        "BoxNetwork",
        "BoxTunnel",
        "SocketAddress",
        "TunnelForwarder",
    ),
    "boxlite.volumes": ("Volumes",),
    "boxlite.options": (
        "AdvancedBoxOptions",
        "BoxOptions",
        "ContainerCapabilities",
        "HealthCheckOptions",
        "ImageRegistry",
        "InboundNetworkSpec",
        "NetworkSpec",
        "Options",
        "OutboundNetworkSpec",
        "PortMapping",
        "Secret",
        "VolumeMount",
    ),
    "boxlite.runtime": ("Boxlite",),
    "boxlite.security": ("SecurityOptions",),
    "boxlite.simplebox": ("CodeBox", "SimpleBox"),
    "boxlite.streams": ("Input", "Output"),
    "boxlite.sync": (
        "SyncBox",
        "SyncBoxlite",
        "SyncImages",
        "SyncVolumes",
    ),
    "boxlite.sync_execution": ("SyncExecution", "SyncInput", "SyncOutput"),
    "boxlite.sync_network": ("SyncBoxConnection", "SyncBoxNetwork", "SyncBoxTunnel", "SyncTunnelForwarder"),
    "boxlite.sync_simplebox": ("SyncCodeBox", "SyncInteractiveBox", "SyncSimpleBox"),
    "boxlite.values": (
        "BoxInfo",
        "BoxStateInfo",
        "HealthReport",
        "ImageInfo",
        "PublishedPort",
        "RuntimeMetrics",
        "StaleItem",
        "VolumeInfo",
    ),
    "engine.events": ("BoxEvent", "EventKind"),
    "engine.metrics": ("BoxMetrics",),
    "engine.model": ("BoxStatus", "FileInfo", "FileKind", "HealthState", "PullPolicy"),
    "engine.version": ("__version__",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
