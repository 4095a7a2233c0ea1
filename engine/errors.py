"""Every error a caller can meet, in one tree.

    BoxliteError
    ├── ConfigError               a setting or option is wrong
    │   └── InvalidArgumentError
    ├── StorageError              home directory, disks, files
    │   ├── ResourceExhaustedError    also: no space left, too many, too large
    │   ├── IsDirectoryError      a file was asked for
    │   ├── NotDirectoryError     a directory was asked for, or on the way
    │   └── DirectoryNotEmptyError
    ├── DatabaseError             the record of boxes and images
    ├── MetadataError             a stored document cannot be read
    ├── ImageError                reference, registry, manifest, layer
    │   ├── ImageNotFoundError
    │   └── RegistryAuthError
    ├── EngineError               the machine monitor
    │   └── UnsupportedEngineError
    ├── JailError                 the second wall could not be built
    ├── PortalError               talking to the machine
    │   ├── RpcError
    │   └── RpcTransportError
    ├── NetworkError
    │   └── PortInUseError
    ├── ExecutionError            a command in a box
    │   ├── CommandNotFoundError      exit status 127
    │   └── CommandNotExecutableError exit status 126
    ├── NotFoundError
    ├── AlreadyExistsError
    ├── InvalidStateError
    ├── StoppedError
    ├── UnsupportedError
    ├── DeadlineError
    ├── DeniedError
    │   └── ReadOnlyError         a file system or volume nobody may write to
    └── InternalError

Each carries a stable `code`, the box and operation it concerns where there is one, a `hint` (what to
do next), and whether the same call may work when tried again (`retryable`). The message says which box,
which operation and why, in lower case and without secrets.
"""

from __future__ import annotations

from typing import ClassVar


class BoxliteError(Exception):
    """Base of all errors. `str(error)` is one line; `hint` is a second one or None.

    `exit_status` is what a command that fails with it exits with (Docker's 125 is decided by the
    command line, which knows whether it was run, exec or create).
    """

    code: ClassVar[str] = "internal"
    prefix: ClassVar[str] = ""
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        box: str | None = None,
        operation: str | None = None,
        log_path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.box = box
        self.operation = operation
        self.log_path = log_path

    def __str__(self) -> str:
        where = " ".join(
            part for part in (self.operation or "", f"box {self.box}" if self.box else "") if part
        )
        text = f"{self.prefix}{self.message}"
        return f"{where}: {text}" if where else text

    def at(self, *, box: str | None = None, operation: str | None = None) -> BoxliteError:
        """Fill in the box and operation where they are not known yet, and return self."""
        self.box = self.box or box
        self.operation = self.operation or operation
        return self


class ConfigError(BoxliteError):
    code = "config_error"
    prefix = "configuration error: "


class InvalidArgumentError(ConfigError):
    code = "invalid_argument"
    prefix = ""
    exit_status = 2


class StorageError(BoxliteError):
    code = "storage_error"
    prefix = "storage error: "


class ResourceExhaustedError(StorageError):
    code = "resource_exhausted"
    prefix = ""


class IsDirectoryError(StorageError):
    code = "is_directory"
    prefix = ""


class NotDirectoryError(StorageError):
    code = "not_directory"
    prefix = ""


class DirectoryNotEmptyError(StorageError):
    code = "not_empty"
    prefix = ""


class DatabaseError(BoxliteError):
    code = "database_error"
    prefix = "database error: "


class MetadataError(BoxliteError):
    code = "metadata_error"
    prefix = "metadata error: "


class ImageError(BoxliteError):
    code = "image_error"
    prefix = "images error: "


class ImageNotFoundError(ImageError):
    code = "image_not_found"


class RegistryAuthError(ImageError):
    code = "registry_auth"


class EngineError(BoxliteError):
    code = "engine_error"
    prefix = "engine reported an error: "


class UnsupportedEngineError(EngineError):
    code = "unsupported_engine"
    prefix = "unsupported engine kind: "


class JailError(BoxliteError):
    code = "jail_error"
    prefix = "jail error: "


class PortalError(BoxliteError):
    code = "portal_error"
    prefix = "portal error: "
    retryable = True


class RpcError(PortalError):
    code = "rpc_error"
    retryable = False


class RpcTransportError(PortalError):
    code = "rpc_transport"


class NetworkError(BoxliteError):
    code = "network_error"
    prefix = "network error: "


class PortInUseError(NetworkError):
    code = "port_in_use"


class ExecutionError(BoxliteError):
    code = "execution_failed"
    prefix = "Execution error: "


class CommandNotFoundError(ExecutionError):
    code = "command_not_found"
    exit_status = 127


class CommandNotExecutableError(ExecutionError):
    code = "command_not_executable"
    exit_status = 126


class NotFoundError(BoxliteError):
    code = "not_found"


class AlreadyExistsError(BoxliteError):
    code = "already_exists"
    prefix = "already exists: "


class InvalidStateError(BoxliteError):
    code = "invalid_state"
    prefix = "invalid state: "


class StoppedError(BoxliteError):
    code = "stopped"


class UnsupportedError(BoxliteError):
    code = "unsupported"
    prefix = "unsupported: "


class DeadlineError(BoxliteError):
    code = "timeout"
    retryable = True


class DeniedError(BoxliteError):
    code = "permission_denied"


class ReadOnlyError(DeniedError):
    code = "read_only"


class InternalError(BoxliteError):
    code = "internal"
    prefix = "internal error: "
