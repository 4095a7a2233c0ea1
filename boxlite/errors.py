"""Every error a caller can meet: the engine's tree, and the two that belong to commands run in one call."""

from __future__ import annotations

import builtins

from engine.errors import (
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
    UnsupportedEngineError,
    UnsupportedError,
)

__all__ = [
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
]


class ExecError(ExecutionError):
    """A command that had to succeed did not. `exit_code` is negative when a signal ended it."""

    def __init__(self, command: str, exit_code: int, stderr: str) -> None:
        lines = stderr.strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        super().__init__(f"{command} ended with status {exit_code}{said}", operation="exec")
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr


class TimeoutError(DeadlineError, builtins.TimeoutError):  # noqa: A001  the word of the public interface
    """A command took longer than its timeout and was killed with all its processes."""
