from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachRequest(_message.Message):
    __slots__ = ["execution_id", "lane", "stderr_offset", "stdout_offset"]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    STDERR_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STDOUT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    lane: bytes
    stderr_offset: int
    stdout_offset: int
    def __init__(self, execution_id: _Optional[str] = ..., stdout_offset: _Optional[int] = ..., stderr_offset: _Optional[int] = ..., lane: _Optional[bytes] = ...) -> None: ...

class BootReply(_message.Message):
    __slots__ = ["machine", "pid"]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    machine: InitReply
    pid: int
    def __init__(self, machine: _Optional[_Union[InitReply, _Mapping]] = ..., pid: _Optional[int] = ...) -> None: ...

class BootRequest(_message.Message):
    __slots__ = ["container", "machine"]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    container: ContainerInitRequest
    machine: InitRequest
    def __init__(self, machine: _Optional[_Union[InitRequest, _Mapping]] = ..., container: _Optional[_Union[ContainerInitRequest, _Mapping]] = ...) -> None: ...

class ChangeReply(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ChangeRequest(_message.Message):
    __slots__ = ["change_mode", "change_owner", "make_directory", "path", "remove", "rename", "user"]
    class ChangeMode(_message.Message):
        __slots__ = ["mode", "recursive"]
        MODE_FIELD_NUMBER: _ClassVar[int]
        RECURSIVE_FIELD_NUMBER: _ClassVar[int]
        mode: int
        recursive: bool
        def __init__(self, mode: _Optional[int] = ..., recursive: bool = ...) -> None: ...
    class ChangeOwner(_message.Message):
        __slots__ = ["owner", "recursive"]
        OWNER_FIELD_NUMBER: _ClassVar[int]
        RECURSIVE_FIELD_NUMBER: _ClassVar[int]
        owner: str
        recursive: bool
        def __init__(self, owner: _Optional[str] = ..., recursive: bool = ...) -> None: ...
    class MakeDirectory(_message.Message):
        __slots__ = ["exist_ok", "mode", "parents"]
        EXIST_OK_FIELD_NUMBER: _ClassVar[int]
        MODE_FIELD_NUMBER: _ClassVar[int]
        PARENTS_FIELD_NUMBER: _ClassVar[int]
        exist_ok: bool
        mode: int
        parents: bool
        def __init__(self, mode: _Optional[int] = ..., parents: bool = ..., exist_ok: bool = ...) -> None: ...
    class Remove(_message.Message):
        __slots__ = ["missing_ok", "recursive"]
        MISSING_OK_FIELD_NUMBER: _ClassVar[int]
        RECURSIVE_FIELD_NUMBER: _ClassVar[int]
        missing_ok: bool
        recursive: bool
        def __init__(self, recursive: bool = ..., missing_ok: bool = ...) -> None: ...
    class Rename(_message.Message):
        __slots__ = ["overwrite", "target"]
        OVERWRITE_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        overwrite: bool
        target: bytes
        def __init__(self, target: _Optional[bytes] = ..., overwrite: bool = ...) -> None: ...
    CHANGE_MODE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_OWNER_FIELD_NUMBER: _ClassVar[int]
    MAKE_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    RENAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    change_mode: ChangeRequest.ChangeMode
    change_owner: ChangeRequest.ChangeOwner
    make_directory: ChangeRequest.MakeDirectory
    path: bytes
    remove: ChangeRequest.Remove
    rename: ChangeRequest.Rename
    user: str
    def __init__(self, path: _Optional[bytes] = ..., user: _Optional[str] = ..., make_directory: _Optional[_Union[ChangeRequest.MakeDirectory, _Mapping]] = ..., remove: _Optional[_Union[ChangeRequest.Remove, _Mapping]] = ..., rename: _Optional[_Union[ChangeRequest.Rename, _Mapping]] = ..., change_mode: _Optional[_Union[ChangeRequest.ChangeMode, _Mapping]] = ..., change_owner: _Optional[_Union[ChangeRequest.ChangeOwner, _Mapping]] = ...) -> None: ...

class ContainerInitReply(_message.Message):
    __slots__ = ["pid"]
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class ContainerInitRequest(_message.Message):
    __slots__ = ["argv", "ca_certificates", "capabilities", "create_working_dir", "disk_is_new", "env", "files_only", "init_process", "memory_limit_bytes", "mounts", "no_new_privileges", "pids_limit", "privileged", "read_only", "seccomp_filter", "shm_size_bytes", "size", "stdin", "tty", "ulimits", "user", "working_dir"]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    CREATE_WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    DISK_IS_NEW_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    FILES_ONLY_FIELD_NUMBER: _ClassVar[int]
    INIT_PROCESS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    NO_NEW_PRIVILEGES_FIELD_NUMBER: _ClassVar[int]
    PIDS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PRIVILEGED_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    SECCOMP_FILTER_FIELD_NUMBER: _ClassVar[int]
    SHM_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    TTY_FIELD_NUMBER: _ClassVar[int]
    ULIMITS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    argv: _containers.RepeatedScalarFieldContainer[str]
    ca_certificates: _containers.RepeatedScalarFieldContainer[str]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    create_working_dir: bool
    disk_is_new: bool
    env: _containers.RepeatedScalarFieldContainer[str]
    files_only: bool
    init_process: bool
    memory_limit_bytes: int
    mounts: _containers.RepeatedCompositeFieldContainer[Mount]
    no_new_privileges: bool
    pids_limit: int
    privileged: bool
    read_only: bool
    seccomp_filter: bytes
    shm_size_bytes: int
    size: TerminalSize
    stdin: bool
    tty: bool
    ulimits: _containers.RepeatedCompositeFieldContainer[Ulimit]
    user: str
    working_dir: str
    def __init__(self, argv: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., working_dir: _Optional[str] = ..., user: _Optional[str] = ..., tty: bool = ..., stdin: bool = ..., size: _Optional[_Union[TerminalSize, _Mapping]] = ..., mounts: _Optional[_Iterable[_Union[Mount, _Mapping]]] = ..., capabilities: _Optional[_Iterable[str]] = ..., privileged: bool = ..., read_only: bool = ..., memory_limit_bytes: _Optional[int] = ..., pids_limit: _Optional[int] = ..., shm_size_bytes: _Optional[int] = ..., ulimits: _Optional[_Iterable[_Union[Ulimit, _Mapping]]] = ..., init_process: bool = ..., ca_certificates: _Optional[_Iterable[str]] = ..., disk_is_new: bool = ..., files_only: bool = ..., create_working_dir: bool = ..., seccomp_filter: _Optional[bytes] = ..., no_new_privileges: bool = ...) -> None: ...

class ContainerStartReply(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ContainerStartRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ContainerStopReply(_message.Message):
    __slots__ = ["status"]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ExitStatus
    def __init__(self, status: _Optional[_Union[ExitStatus, _Mapping]] = ...) -> None: ...

class ContainerStopRequest(_message.Message):
    __slots__ = ["grace_ms", "signal"]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    grace_ms: int
    signal: int
    def __init__(self, signal: _Optional[int] = ..., grace_ms: _Optional[int] = ...) -> None: ...

class DownloadChunk(_message.Message):
    __slots__ = ["data", "stat"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    stat: FileStat
    def __init__(self, stat: _Optional[_Union[FileStat, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ["follow_link", "lane", "name", "path"]
    FOLLOW_LINK_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    follow_link: bool
    lane: bytes
    name: bytes
    path: bytes
    def __init__(self, path: _Optional[bytes] = ..., follow_link: bool = ..., name: _Optional[bytes] = ..., lane: _Optional[bytes] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ["code", "errno", "hint", "message"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ERRNO_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    errno: int
    hint: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., errno: _Optional[int] = ...) -> None: ...

class ExecReply(_message.Message):
    __slots__ = ["pid"]
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class ExecRequest(_message.Message):
    __slots__ = ["argv", "background", "detach", "env", "execution_id", "privileged", "size", "stdin", "timeout_ms", "tty", "user", "working_dir"]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    PRIVILEGED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TTY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    argv: _containers.RepeatedScalarFieldContainer[str]
    background: bool
    detach: bool
    env: _containers.RepeatedScalarFieldContainer[str]
    execution_id: str
    privileged: bool
    size: TerminalSize
    stdin: bool
    timeout_ms: int
    tty: bool
    user: str
    working_dir: str
    def __init__(self, execution_id: _Optional[str] = ..., argv: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., working_dir: _Optional[str] = ..., user: _Optional[str] = ..., tty: bool = ..., stdin: bool = ..., size: _Optional[_Union[TerminalSize, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., privileged: bool = ..., detach: bool = ..., background: bool = ...) -> None: ...

class ExitStatus(_message.Message):
    __slots__ = ["error", "exit_code", "oom_killed", "signal", "timed_out"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    OOM_KILLED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    error: str
    exit_code: int
    oom_killed: bool
    signal: int
    timed_out: bool
    def __init__(self, exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., timed_out: bool = ..., oom_killed: bool = ..., error: _Optional[str] = ...) -> None: ...

class FileEntries(_message.Message):
    __slots__ = ["entries"]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[FileEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[FileEntry, _Mapping]]] = ...) -> None: ...

class FileEntry(_message.Message):
    __slots__ = ["path", "stat"]
    PATH_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    stat: FileStat
    def __init__(self, path: _Optional[bytes] = ..., stat: _Optional[_Union[FileStat, _Mapping]] = ...) -> None: ...

class FileStat(_message.Message):
    __slots__ = ["exists", "gid", "link_target", "mode", "mtime_ns", "resolved", "size", "uid"]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    LINK_TARGET_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    exists: bool
    gid: int
    link_target: bytes
    mode: int
    mtime_ns: int
    resolved: bytes
    size: int
    uid: int
    def __init__(self, exists: bool = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., size: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., link_target: _Optional[bytes] = ..., resolved: _Optional[bytes] = ...) -> None: ...

class Host(_message.Message):
    __slots__ = ["address", "names"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    address: str
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, address: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class InitReply(_message.Message):
    __slots__ = ["kernel_release", "version"]
    KERNEL_RELEASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    kernel_release: str
    version: str
    def __init__(self, version: _Optional[str] = ..., kernel_release: _Optional[str] = ...) -> None: ...

class InitRequest(_message.Message):
    __slots__ = ["box_id", "dns", "dns_search", "entropy", "ephemeral", "hostname", "hosts", "machine_id", "network", "realtime_ns"]
    BOX_ID_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    DNS_SEARCH_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    REALTIME_NS_FIELD_NUMBER: _ClassVar[int]
    box_id: str
    dns: _containers.RepeatedScalarFieldContainer[str]
    dns_search: _containers.RepeatedScalarFieldContainer[str]
    entropy: bytes
    ephemeral: bool
    hostname: str
    hosts: _containers.RepeatedCompositeFieldContainer[Host]
    machine_id: str
    network: Network
    realtime_ns: int
    def __init__(self, box_id: _Optional[str] = ..., hostname: _Optional[str] = ..., machine_id: _Optional[str] = ..., entropy: _Optional[bytes] = ..., realtime_ns: _Optional[int] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., dns: _Optional[_Iterable[str]] = ..., dns_search: _Optional[_Iterable[str]] = ..., hosts: _Optional[_Iterable[_Union[Host, _Mapping]]] = ..., ephemeral: bool = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ["close_at_end", "data", "execution_id", "lane"]
    CLOSE_AT_END_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    close_at_end: bool
    data: bytes
    execution_id: str
    lane: bytes
    def __init__(self, execution_id: _Optional[str] = ..., data: _Optional[bytes] = ..., close_at_end: bool = ..., lane: _Optional[bytes] = ...) -> None: ...

class InputReply(_message.Message):
    __slots__ = ["accepted_bytes"]
    ACCEPTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    accepted_bytes: int
    def __init__(self, accepted_bytes: _Optional[int] = ...) -> None: ...

class KillReply(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class KillRequest(_message.Message):
    __slots__ = ["all", "execution_id", "signal"]
    ALL_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    all: bool
    execution_id: str
    signal: int
    def __init__(self, execution_id: _Optional[str] = ..., signal: _Optional[int] = ..., all: bool = ...) -> None: ...

class ListFilesRequest(_message.Message):
    __slots__ = ["is_pattern", "path", "user"]
    IS_PATTERN_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    is_pattern: bool
    path: bytes
    user: str
    def __init__(self, path: _Optional[bytes] = ..., user: _Optional[str] = ..., is_pattern: bool = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ["sessions"]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class MetricsReply(_message.Message):
    __slots__ = ["block_read_bytes", "block_write_bytes", "cpu_usage_us", "disk_size_bytes", "disk_used_bytes", "memory_bytes", "memory_limit_bytes", "net_rx_bytes", "net_tx_bytes", "pids", "tcp_connections", "tcp_errors"]
    BLOCK_READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_USAGE_US_FIELD_NUMBER: _ClassVar[int]
    DISK_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NET_RX_BYTES_FIELD_NUMBER: _ClassVar[int]
    NET_TX_BYTES_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    TCP_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    TCP_ERRORS_FIELD_NUMBER: _ClassVar[int]
    block_read_bytes: int
    block_write_bytes: int
    cpu_usage_us: int
    disk_size_bytes: int
    disk_used_bytes: int
    memory_bytes: int
    memory_limit_bytes: int
    net_rx_bytes: int
    net_tx_bytes: int
    pids: int
    tcp_connections: int
    tcp_errors: int
    def __init__(self, cpu_usage_us: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., pids: _Optional[int] = ..., net_rx_bytes: _Optional[int] = ..., net_tx_bytes: _Optional[int] = ..., disk_used_bytes: _Optional[int] = ..., disk_size_bytes: _Optional[int] = ..., tcp_connections: _Optional[int] = ..., tcp_errors: _Optional[int] = ..., block_read_bytes: _Optional[int] = ..., block_write_bytes: _Optional[int] = ...) -> None: ...

class MetricsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class Mount(_message.Message):
    __slots__ = ["fill", "is_file", "kind", "read_only", "share_path", "target", "tmpfs_exec", "tmpfs_mode", "tmpfs_size_bytes"]
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    FILL_FIELD_NUMBER: _ClassVar[int]
    IS_FILE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    SHARE: Mount.Kind
    SHARE_PATH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TMPFS: Mount.Kind
    TMPFS_EXEC_FIELD_NUMBER: _ClassVar[int]
    TMPFS_MODE_FIELD_NUMBER: _ClassVar[int]
    TMPFS_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    fill: bool
    is_file: bool
    kind: Mount.Kind
    read_only: bool
    share_path: str
    target: str
    tmpfs_exec: bool
    tmpfs_mode: int
    tmpfs_size_bytes: int
    def __init__(self, kind: _Optional[_Union[Mount.Kind, str]] = ..., target: _Optional[str] = ..., share_path: _Optional[str] = ..., read_only: bool = ..., tmpfs_size_bytes: _Optional[int] = ..., tmpfs_mode: _Optional[int] = ..., tmpfs_exec: bool = ..., is_file: bool = ..., fill: bool = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ["address", "address6", "announce", "gateway", "gateway6", "link_address6", "mac", "mtu", "name_server", "redirect"]
    ADDRESS6_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY6_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    LINK_ADDRESS6_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    NAME_SERVER_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_FIELD_NUMBER: _ClassVar[int]
    address: str
    address6: str
    announce: bool
    gateway: str
    gateway6: str
    link_address6: str
    mac: str
    mtu: int
    name_server: str
    redirect: bool
    def __init__(self, mac: _Optional[str] = ..., address: _Optional[str] = ..., gateway: _Optional[str] = ..., address6: _Optional[str] = ..., gateway6: _Optional[str] = ..., mtu: _Optional[int] = ..., redirect: bool = ..., announce: bool = ..., link_address6: _Optional[str] = ..., name_server: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ["data", "end", "ends", "offset", "on_lane", "status", "stream"]
    class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class End(_message.Message):
        __slots__ = ["offset", "stream"]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        STREAM_FIELD_NUMBER: _ClassVar[int]
        offset: int
        stream: Output.Stream
        def __init__(self, stream: _Optional[_Union[Output.Stream, str]] = ..., offset: _Optional[int] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ON_LANE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STDERR: Output.Stream
    STDOUT: Output.Stream
    STREAM_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    end: bool
    ends: _containers.RepeatedCompositeFieldContainer[Output.End]
    offset: int
    on_lane: bool
    status: ExitStatus
    stream: Output.Stream
    def __init__(self, stream: _Optional[_Union[Output.Stream, str]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., end: bool = ..., on_lane: bool = ..., status: _Optional[_Union[ExitStatus, _Mapping]] = ..., ends: _Optional[_Iterable[_Union[Output.End, _Mapping]]] = ...) -> None: ...

class PingReply(_message.Message):
    __slots__ = ["uptime_ms", "version"]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    uptime_ms: int
    version: str
    def __init__(self, version: _Optional[str] = ..., uptime_ms: _Optional[int] = ...) -> None: ...

class PingRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class QuiesceReply(_message.Message):
    __slots__ = ["frozen_count"]
    FROZEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    frozen_count: int
    def __init__(self, frozen_count: _Optional[int] = ...) -> None: ...

class QuiesceRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ["limit", "offset", "path", "user"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    limit: int
    offset: int
    path: bytes
    user: str
    def __init__(self, path: _Optional[bytes] = ..., user: _Optional[str] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ResizeReply(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ResizeRequest(_message.Message):
    __slots__ = ["execution_id", "size"]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    size: TerminalSize
    def __init__(self, execution_id: _Optional[str] = ..., size: _Optional[_Union[TerminalSize, _Mapping]] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ["command", "lane"]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    command: ExecRequest
    lane: bytes
    def __init__(self, command: _Optional[_Union[ExecRequest, _Mapping]] = ..., lane: _Optional[bytes] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ["argv", "attached", "execution_id", "pid", "processes", "running", "started_ns", "status", "stdin", "tty"]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    TTY_FIELD_NUMBER: _ClassVar[int]
    argv: _containers.RepeatedScalarFieldContainer[str]
    attached: int
    execution_id: str
    pid: int
    processes: int
    running: bool
    started_ns: int
    status: ExitStatus
    stdin: bool
    tty: bool
    def __init__(self, execution_id: _Optional[str] = ..., argv: _Optional[_Iterable[str]] = ..., running: bool = ..., tty: bool = ..., attached: _Optional[int] = ..., pid: _Optional[int] = ..., started_ns: _Optional[int] = ..., status: _Optional[_Union[ExitStatus, _Mapping]] = ..., processes: _Optional[int] = ..., stdin: bool = ...) -> None: ...

class ShutdownReply(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ["sync"]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: bool
    def __init__(self, sync: bool = ...) -> None: ...

class StatReply(_message.Message):
    __slots__ = ["stat"]
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: FileStat
    def __init__(self, stat: _Optional[_Union[FileStat, _Mapping]] = ...) -> None: ...

class StatRequest(_message.Message):
    __slots__ = ["as_user", "follow_link", "path", "user"]
    AS_USER_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_LINK_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    as_user: bool
    follow_link: bool
    path: bytes
    user: str
    def __init__(self, path: _Optional[bytes] = ..., follow_link: bool = ..., user: _Optional[str] = ..., as_user: bool = ...) -> None: ...

class TerminalSize(_message.Message):
    __slots__ = ["cols", "rows"]
    COLS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    cols: int
    rows: int
    def __init__(self, rows: _Optional[int] = ..., cols: _Optional[int] = ...) -> None: ...

class ThawReply(_message.Message):
    __slots__ = ["thawed_count"]
    THAWED_COUNT_FIELD_NUMBER: _ClassVar[int]
    thawed_count: int
    def __init__(self, thawed_count: _Optional[int] = ...) -> None: ...

class ThawRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class TunnelChunk(_message.Message):
    __slots__ = ["data", "end", "port"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    end: bool
    port: int
    def __init__(self, port: _Optional[int] = ..., data: _Optional[bytes] = ..., end: bool = ...) -> None: ...

class Ulimit(_message.Message):
    __slots__ = ["hard", "name", "soft"]
    HARD_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    hard: int
    name: str
    soft: int
    def __init__(self, name: _Optional[str] = ..., soft: _Optional[int] = ..., hard: _Optional[int] = ...) -> None: ...

class UploadChunk(_message.Message):
    __slots__ = ["data", "header"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    header: UploadHeader
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ["gid", "keep_owner", "lane", "make_parents", "no_dir_overwrite", "overwrite", "path", "uid"]
    GID_FIELD_NUMBER: _ClassVar[int]
    KEEP_OWNER_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    MAKE_PARENTS_FIELD_NUMBER: _ClassVar[int]
    NO_DIR_OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    gid: int
    keep_owner: bool
    lane: bytes
    make_parents: bool
    no_dir_overwrite: bool
    overwrite: bool
    path: bytes
    uid: int
    def __init__(self, path: _Optional[bytes] = ..., make_parents: bool = ..., overwrite: bool = ..., keep_owner: bool = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., lane: _Optional[bytes] = ..., no_dir_overwrite: bool = ...) -> None: ...

class UploadReply(_message.Message):
    __slots__ = ["bytes", "files"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    files: int
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class WaitReply(_message.Message):
    __slots__ = ["duration_ms", "status"]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    duration_ms: int
    status: ExitStatus
    def __init__(self, status: _Optional[_Union[ExitStatus, _Mapping]] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class WaitRequest(_message.Message):
    __slots__ = ["execution_id"]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class WriteChunk(_message.Message):
    __slots__ = ["data", "end", "header"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    end: bool
    header: WriteHeader
    def __init__(self, header: _Optional[_Union[WriteHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., end: bool = ...) -> None: ...

class WriteHeader(_message.Message):
    __slots__ = ["kind", "make_parents", "mode", "path", "user"]
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    APPEND: WriteHeader.Kind
    CREATE: WriteHeader.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAKE_PARENTS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REPLACE: WriteHeader.Kind
    USER_FIELD_NUMBER: _ClassVar[int]
    kind: WriteHeader.Kind
    make_parents: bool
    mode: int
    path: bytes
    user: str
    def __init__(self, path: _Optional[bytes] = ..., user: _Optional[str] = ..., kind: _Optional[_Union[WriteHeader.Kind, str]] = ..., mode: _Optional[int] = ..., make_parents: bool = ...) -> None: ...

class WriteReply(_message.Message):
    __slots__ = ["bytes"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...
