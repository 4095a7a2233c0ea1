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
    """A setting, a configuration file or an option of the runtime is wrong."""

    code = "config_error"
    prefix = "configuration error: "


class InvalidArgumentError(ConfigError):
    """An argument is wrong: nothing was tried."""

    code = "invalid_argument"
    prefix = ""
    exit_status = 2


class StorageError(BoxliteError):
    """The host's or the box's file system refused."""

    code = "storage_error"
    prefix = "storage error: "


class ResourceExhaustedError(StorageError):
    """No space, memory, or another limited thing is left, or a limit of ours was reached."""

    code = "resource_exhausted"
    prefix = ""


class IsDirectoryError(StorageError):
    """A directory is where a file is needed."""

    code = "is_directory"
    prefix = ""


class NotDirectoryError(StorageError):
    """Something else is where a directory is needed."""

    code = "not_directory"
    prefix = ""


class DirectoryNotEmptyError(StorageError):
    """A directory with something in it is not removed without being told so."""

    code = "not_empty"
    prefix = ""


class DatabaseError(BoxliteError):
    """The database of the home cannot be used."""

    code = "database_error"
    prefix = "database error: "


class MetadataError(BoxliteError):
    """A file or record of ours cannot be read, or is of a newer version."""

    code = "metadata_error"
    prefix = "metadata error: "


class ImageError(BoxliteError):
    """An image cannot be had, or is not what it says it is."""

    code = "image_error"
    prefix = "images error: "


class ImageNotFoundError(ImageError):
    """No image of that name, here or at its registry."""

    code = "image_not_found"


class RegistryAuthError(ImageError):
    """The registry wants other credentials."""

    code = "registry_auth"


class EngineError(BoxliteError):
    """QEMU or another program that makes up a machine failed."""

    code = "engine_error"
    prefix = "engine reported an error: "


class UnsupportedEngineError(EngineError):
    """This host has no engine that can run machines."""

    code = "unsupported_engine"
    prefix = "unsupported engine kind: "


class JailError(BoxliteError):
    """The host forbids the jail, or a machine's wall cannot be built."""

    code = "jail_error"
    prefix = "jail error: "


class PortalError(BoxliteError):
    """Talking to the agent in a machine failed."""

    code = "portal_error"
    prefix = "portal error: "
    retryable = True


class RpcError(PortalError):
    """The agent could not do what it was asked."""

    code = "rpc_error"
    retryable = False


class RpcTransportError(PortalError):
    """The connection to the agent was lost: in most cases the machine has ended, and the message says why."""

    code = "rpc_transport"


class NetworkError(BoxliteError):
    """A network on this host, or a box's, cannot be used."""

    code = "network_error"
    prefix = "network error: "


class PortInUseError(NetworkError):
    """An address of the host is taken; the message says by whom, where that is known."""

    code = "port_in_use"


class ExecutionError(BoxliteError):
    """A command could not be run, or had to succeed and did not."""

    code = "execution_failed"
    prefix = "Execution error: "


class CommandNotFoundError(ExecutionError):
    """The box has no such command."""

    code = "command_not_found"
    exit_status = 127


class CommandNotExecutableError(ExecutionError):
    """It is there and cannot be run."""

    code = "command_not_executable"
    exit_status = 126


class NotFoundError(BoxliteError):
    """Nothing has that name, id or path."""

    code = "not_found"


class AlreadyExistsError(BoxliteError):
    """Something has that name already."""

    code = "already_exists"
    prefix = "already exists: "


class InvalidStateError(BoxliteError):
    """The box is not in a state that allows it."""

    code = "invalid_state"
    prefix = "invalid state: "


class StoppedError(BoxliteError):
    """It was shut down meanwhile."""

    code = "stopped"


class UnsupportedError(BoxliteError):
    """It cannot be done here, or not yet; nothing of it was done."""

    code = "unsupported"
    prefix = "unsupported: "


class DeadlineError(BoxliteError):
    """It took longer than it may. Trying again may help."""

    code = "timeout"
    retryable = True


class DeniedError(BoxliteError):
    """Somebody may not do that: the host, the box or a rule says so."""

    code = "permission_denied"


class ReadOnlyError(DeniedError):
    """It is mounted, or made, for reading only."""

    code = "read_only"


class InternalError(BoxliteError):
    """A fault of this program."""

    code = "internal"
    prefix = "internal error: "
