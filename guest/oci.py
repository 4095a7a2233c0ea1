"""The OCI runtime configuration of the container (runtime-spec 1.0, config.md and config-linux.md).

Masked and read-only paths, mounts and their options are those a Docker container has.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from guest.users import User

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM_BYTES = 64 << 20

_MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_NAMESPACES = ("pid", "ipc", "uts", "mount", "cgroup")

ALL_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What to run and as whom: the main command's or an execution's."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: User
    tty: bool
    capabilities: tuple[str, ...]
    rlimits: tuple[tuple[str, int, int], ...] = ()
    no_new_privileges: bool = False
    rows: int = 0
    cols: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """`fill`: first put what the image has at `target` into an empty `source`."""

    source: str
    target: str
    read_only: bool = False
    fill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """`size_bytes` 0: half the machine's memory; `mode` 0: 1777. `executes`: programs may be started from it."""

    target: str
    size_bytes: int = 0
    mode: int = 0
    read_only: bool = False
    executes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    process: ProcessSpec
    rootfs: str
    hostname: str
    mounts: tuple[BindMount | TmpfsMount, ...] = ()
    read_only: bool = False
    privileged: bool = False
    shm_bytes: int = DEFAULT_SHM_BYTES
    devices: tuple[dict[str, Any], ...] = ()
    seccomp_filter: bytes = b""


def merge_env(*layers: tuple[str, ...]) -> tuple[str, ...]:
    """`KEY=VALUE` lists on top of one another: the last value of a key wins, its first place stays."""
    merged: dict[str, str] = {}
    for layer in layers:
        for entry in layer:
            key, _, value = entry.partition("=")
            merged[key] = value
    return tuple(f"{key}={value}" for key, value in merged.items())


def default_env(*, hostname: str, home: str, tty: bool) -> tuple[str, ...]:
    """What Docker sets where neither image nor user does."""
    env = (f"PATH={DEFAULT_PATH}", f"HOSTNAME={hostname}", f"HOME={home or '/'}")
    return (*env, "TERM=xterm") if tty else env


def build_process(spec: ProcessSpec) -> dict[str, Any]:
    """The `process` object."""
    names = [f"CAP_{name}" for name in spec.capabilities]
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": list(spec.user.groups)},
        "args": list(spec.argv),
        "env": list(spec.env),
        "cwd": spec.working_dir or "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, soft, hard in spec.rlimits
        ],
        "noNewPrivileges": spec.no_new_privileges,
        "oomScoreAdj": 0,
    }
    if spec.tty and spec.rows and spec.cols:
        process["consoleSize"] = {"height": spec.rows, "width": spec.cols}
    return process


def build_config(spec: ContainerSpec) -> dict[str, Any]:
    """The whole configuration, as config.json holds it."""
    linux: dict[str, Any] = {"namespaces": [{"type": name} for name in _NAMESPACES]}
    if spec.devices:
        linux["devices"] = list(spec.devices)
    if not spec.privileged:
        linux["maskedPaths"] = list(_MASKED_PATHS)
        linux["readonlyPaths"] = list(_READONLY_PATHS)
    return {
        "ociVersion": OCI_VERSION,
        "process": build_process(spec.process),
        "root": {"path": spec.rootfs, "readonly": spec.read_only},
        "hostname": spec.hostname,
        "mounts": [
            *_system_mounts(privileged=spec.privileged, shm_bytes=spec.shm_bytes),
            *(_mount(mount) for mount in sorted(spec.mounts, key=lambda mount: mount.target.count("/"))),
        ],
        "linux": linux,
        "annotations": _annotations(spec),
    }


def _annotations(spec: ContainerSpec) -> dict[str, str]:
    """The filter as crun takes one that is compiled (crun(1), run.oci.seccomp_bpf_data), also for what it executes later.
    From a profile it would make it anew in every machine, and a slower one."""
    if not spec.seccomp_filter:
        return {}
    return {"run.oci.seccomp_bpf_data": b64encode(spec.seccomp_filter).decode()}


def _system_mounts(*, privileged: bool, shm_bytes: int) -> list[dict[str, Any]]:
    access = "rw" if privileged else "ro"
    return [
        _entry("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _entry("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _entry("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _entry("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", access),
        _entry("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _entry("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_bytes}"),  # noqa: S108
    ]  # fmt: skip


def _mount(mount: BindMount | TmpfsMount) -> dict[str, Any]:
    access = "ro" if mount.read_only else "rw"
    if isinstance(mount, BindMount):
        return _entry(mount.target, "bind", mount.source, "rbind", "rprivate", access)
    options = [f"mode={mount.mode or 0o1777:o}", "nosuid", "nodev", access]
    options += [] if mount.executes else ["noexec"]
    if mount.size_bytes:
        options.append(f"size={mount.size_bytes}")
    return _entry(mount.target, "tmpfs", "tmpfs", *options)


def _entry(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}
